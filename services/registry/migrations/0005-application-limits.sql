-- What an application may ask per day and its share where a source is the limit; testers whose reports count no more.
ALTER TABLE application
  -- Verifications per day (UTC); 0: no limit.
  ADD COLUMN daily_limit integer NOT NULL DEFAULT 0 CHECK (daily_limit >= 0),
  -- Relative to others; 0: 1.
  ADD COLUMN weight smallint NOT NULL DEFAULT 0 CHECK (weight BETWEEN 0 AND 100);

ALTER TABLE tester
  ADD COLUMN revoked_by uuid REFERENCES operator,
  ADD COLUMN revoked_at timestamptz,
  ADD COLUMN revoke_reason text,
  ADD CONSTRAINT tester_revocation CHECK ((revoked_at IS NULL) = (revoked_by IS NULL)
    AND (revoked_at IS NULL) = (revoke_reason IS NULL));
CREATE INDEX source_test_tester ON source_test (tester_id) WHERE reported_at IS NOT NULL;
