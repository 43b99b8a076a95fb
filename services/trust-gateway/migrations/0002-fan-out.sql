-- A word that was used again for the same application and purpose (ClaimPolicy.reuse_seconds) names the evidence that
-- it was taken from. "VARIANT": the source's record may be another spelling of the name; a person decides.
ALTER TABLE trust.evidence ADD COLUMN reused_from uuid;
ALTER TABLE trust.evidence DROP CONSTRAINT evidence_verdict_check;
ALTER TABLE trust.evidence ADD CONSTRAINT evidence_verdict_check
  CHECK (verdict IN ('MATCH', 'MISMATCH', 'NO_RECORD', 'VARIANT', 'UNAVAILABLE'));
