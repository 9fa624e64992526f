-- One row. Which log this is, what signs cursors into it, and up to which position it was trimmed.
CREATE TABLE log (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      BLOB NOT NULL,
    cursor_key BLOB NOT NULL,
    trimmed    INTEGER NOT NULL
) STRICT;

-- One row for each message; never its body. `record` holds the whole message as JSON, the other columns are what it is
-- looked up by. Times are microseconds since 1970.
CREATE TABLE messages (
    seq            INTEGER PRIMARY KEY,
    message_id     BLOB NOT NULL UNIQUE,
    caller         TEXT NOT NULL,
    number         TEXT NOT NULL,
    request_id     TEXT,
    fingerprint    BLOB NOT NULL,
    upstream_id    TEXT,
    correlation_id TEXT,
    external_id    TEXT,
    pending        INTEGER NOT NULL,
    record         TEXT NOT NULL
) STRICT;

-- A request_id stands for one message of its caller, until it is released.
CREATE UNIQUE INDEX messages_by_request ON messages (caller, request_id) WHERE request_id IS NOT NULL;
-- Ids given by others; where one should come twice, the newest message is meant.
CREATE INDEX messages_by_upstream ON messages (upstream_id, number) WHERE upstream_id IS NOT NULL;
CREATE INDEX messages_by_correlation ON messages (correlation_id, number) WHERE correlation_id IS NOT NULL;
CREATE INDEX messages_by_external ON messages (external_id, number) WHERE external_id IS NOT NULL;
CREATE INDEX messages_pending ON messages (seq) WHERE pending;

-- The log. `position` counts in commit order; `logged_at` never falls, so that times can be searched by halving; `payload` is the whole update as JSON.
CREATE TABLE events (
    position    INTEGER PRIMARY KEY,
    logged_at   INTEGER NOT NULL,
    payload     TEXT NOT NULL
) STRICT;

-- Facts whose message was not known when they came.
CREATE TABLE orphans (
    seq            INTEGER PRIMARY KEY,
    number         TEXT NOT NULL,
    upstream_id    TEXT,
    correlation_id TEXT,
    external_id    TEXT,
    identity       TEXT NOT NULL,
    fact           TEXT NOT NULL,
    UNIQUE (number, identity)
) STRICT;
CREATE INDEX orphans_by_upstream ON orphans (upstream_id, number) WHERE upstream_id IS NOT NULL;
CREATE INDEX orphans_by_correlation ON orphans (correlation_id, number) WHERE correlation_id IS NOT NULL;
CREATE INDEX orphans_by_external ON orphans (external_id, number) WHERE external_id IS NOT NULL;
