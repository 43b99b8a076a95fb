-- Batches of receipts, and what applications follow.

-- The audit event whose digest is the root of the receipt's batch. Absent: the receipt is from before there were such
-- events, or the verification is the registry's.
ALTER TABLE trust.verification ADD COLUMN receipt_event_id uuid;

-- A question that no source answered for as long as it was kept.
ALTER TABLE trust.verification DROP CONSTRAINT verification_state_check;
ALTER TABLE trust.verification ADD CONSTRAINT verification_state_check
  CHECK (state IN ('PENDING', 'VERIFIED', 'REJECTED', 'EXPIRED'));

-- Those that may expire.
CREATE INDEX verification_pending ON trust.verification (created_at_ms) WHERE state = 'PENDING';
