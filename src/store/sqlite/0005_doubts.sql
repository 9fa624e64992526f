-- When an early fact happened, and which message of the other side it is about, so that what looks like a message in doubt
-- is found without reading all that looks like it.
ALTER TABLE orphans ADD COLUMN at INTEGER GENERATED ALWAYS AS (json_extract(fact, '$.at')) VIRTUAL;
ALTER TABLE orphans ADD COLUMN subject TEXT
    GENERATED ALWAYS AS (coalesce('u' || upstream_id, 'e' || external_id, '')) VIRTUAL;
-- `proven` grows with trust: 0 a claim, 1 proven of a message that its ids name, 2 proven. What was proven in an older file
-- may have been the former only.
DROP INDEX orphans_by_likeness;
CREATE INDEX orphans_alike ON orphans (likeness, proven, at, subject) WHERE likeness IS NOT NULL;
CREATE INDEX orphans_alike_by_subject ON orphans (likeness, subject, proven, at) WHERE likeness IS NOT NULL;
CREATE INDEX messages_pending_alike ON messages (likeness) WHERE pending AND likeness IS NOT NULL;

-- Failed for want of a delivery report, which may still come.
UPDATE messages SET check_at = 0
WHERE check_at IS NULL AND json_extract(record, '$.status') = 'FAILED'
  AND json_extract(record, '$.failure.raw_code') = 'DELIVERED_NOT_CONFIRMED';
