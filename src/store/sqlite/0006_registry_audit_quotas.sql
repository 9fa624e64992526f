-- The platform team's records: numbers, callers and keys, each sealed whole. Bytes 1 to 8 of `sealed` name the root key.
CREATE TABLE records (
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- The audit log. `link` is the SHA-256 that chains an entry to the one before; `entry` is the text exactly as chained.
CREATE TABLE audit (
    seq   INTEGER PRIMARY KEY,
    entry TEXT NOT NULL,
    link  BLOB NOT NULL,
    -- Nothing for an entry that cannot be read, so that it does not keep others from being found.
    at      INTEGER GENERATED ALWAYS AS (CASE WHEN json_valid(entry) THEN json_extract(entry, '$.at') END) VIRTUAL,
    actor   TEXT GENERATED ALWAYS AS (CASE WHEN json_valid(entry) THEN json_extract(entry, '$.actor') END) VIRTUAL,
    action  TEXT GENERATED ALWAYS AS (CASE WHEN json_valid(entry) THEN json_extract(entry, '$.action') END) VIRTUAL,
    subject TEXT GENERATED ALWAYS AS (CASE WHEN json_valid(entry) THEN json_extract(entry, '$.subject') END) VIRTUAL
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject, seq);

-- One row: the newest entry that was trimmed, and its link.
CREATE TABLE audit_anchor (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL,
    link BLOB NOT NULL
) STRICT;
INSERT INTO audit_anchor (id, seq, link) VALUES (1, 0, zeroblob(32));

-- What the vault stated of the audit log.
CREATE TABLE audit_checkpoints (
    seq INTEGER PRIMARY KEY,
    mac BLOB NOT NULL
) STRICT;

-- How many messages count in a window. `start` is when it began, in seconds since 1970. Windows that are over stay for a
-- while, for a clock that is put back.
CREATE TABLE quota_use (
    subject TEXT NOT NULL,
    window  TEXT NOT NULL,
    start   INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    PRIMARY KEY (subject, window, start)
) STRICT, WITHOUT ROWID;

-- Messages in doubt in the order of their acceptance, for whoever looks after them.
CREATE INDEX messages_doubts ON messages (seq) WHERE in_doubt;

-- Moved by an administrator, and not carried by a stream since: acknowledgements are of what came before.
ALTER TABLE subscriptions ADD COLUMN sought INTEGER NOT NULL DEFAULT 0;

-- For sealing bodies anew: those under an earlier root key, without a look at all others.
CREATE INDEX outbox_by_root_key ON outbox (substr(body, 2, 8));
