-- The furthest status that was claimed of a message and is not known of it, by its place in the order of statuses.
ALTER TABLE messages ADD COLUMN claimed INTEGER;
CREATE INDEX messages_by_claim ON messages (number, check_at) WHERE claimed IS NOT NULL AND check_at IS NOT NULL;
