-- What a log entry is: 0 a status update, 1 an inbound event. `identity` tells inbound events apart, so that one that comes
-- twice is logged once, for as long as it is kept.
ALTER TABLE events ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN identity BLOB;
CREATE UNIQUE INDEX events_by_identity ON events (identity) WHERE identity IS NOT NULL;

-- When a message is to be read back, and how often it has been since its last news. What is open in an older file is due
-- at once. Times are microseconds since 1970.
ALTER TABLE messages ADD COLUMN check_at INTEGER;
ALTER TABLE messages ADD COLUMN checks INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_by_check ON messages (number, check_at) WHERE check_at IS NOT NULL;
UPDATE messages SET check_at = 0 WHERE json_extract(record, '$.status') IN ('IN_DOUBT', 'QUEUED', 'SENT', 'DELIVERED');

-- Whether an early fact may be folded in when its message becomes known (1), or only makes it due to be read back (0); and
-- whether it has been told as unattributed.
ALTER TABLE orphans ADD COLUMN proven INTEGER NOT NULL DEFAULT 1;
ALTER TABLE orphans ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
CREATE INDEX orphans_untold ON orphans (seq) WHERE NOT told;

-- How far a caller has acknowledged a stream. `filter` is the fingerprint of the stream's filter; `used_at` is when it was
-- last opened or acknowledged.
CREATE TABLE subscriptions (
    caller   TEXT NOT NULL,
    name     TEXT NOT NULL,
    filter   BLOB NOT NULL,
    position INTEGER NOT NULL,
    used_at  INTEGER NOT NULL,
    PRIMARY KEY (caller, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscriptions_by_use ON subscriptions (used_at);
