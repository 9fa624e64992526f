-- A caller's messages by age: ids are ordered by the time they were made at.
CREATE INDEX messages_by_caller ON messages (caller, message_id);

-- Queued messages on their way to Pilot Status. `seq` is that of the message; `body` is sealed and goes with the row.
-- Of each number and recipient only the `first` one is due, which keeps their order. A lease puts `due` off, so that it
-- comes back by itself if its holder does not; `generation` counts the leases. Times are microseconds since 1970.
CREATE TABLE outbox (
    seq           INTEGER PRIMARY KEY,
    number        TEXT NOT NULL,
    recipient     TEXT NOT NULL,
    first         INTEGER NOT NULL,
    due           INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    first_attempt INTEGER,
    generation    INTEGER NOT NULL,
    leased        INTEGER NOT NULL,
    body          BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_by_recipient ON outbox (number, recipient, seq);
CREATE INDEX outbox_due ON outbox (number, due) WHERE first;
CREATE INDEX outbox_expires ON outbox (expires);
CREATE INDEX outbox_leased ON outbox (seq) WHERE leased;

-- One row: how much the outbox holds.
CREATE TABLE outbox_size (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    messages INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_size (id, messages, bytes) VALUES (1, 0, 0);

-- What a message says, to whom and from where, without telling it; so that a webhook whose id nobody knows finds the
-- message in doubt that it is about.
ALTER TABLE messages ADD COLUMN likeness BLOB;
ALTER TABLE messages ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_in_doubt ON messages (likeness) WHERE in_doubt;
ALTER TABLE orphans ADD COLUMN likeness BLOB;
CREATE INDEX orphans_by_likeness ON orphans (likeness) WHERE likeness IS NOT NULL;
