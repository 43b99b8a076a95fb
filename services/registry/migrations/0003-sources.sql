-- Trust sources from registration to suspension (SZ-4.4, SZ-11, SZ-12), block rules (SZ-20.2), evidence policies and caps.

-- A source that only a sandbox's setting names has no registration.
ALTER TABLE source
  ADD COLUMN kind text,
  ADD COLUMN owner_name text,
  ADD COLUMN owner_uscc text,
  ADD COLUMN contact_sealed bytea,
  ADD COLUMN registered_by uuid REFERENCES operator,
  ADD COLUMN registered_at timestamptz,
  ADD COLUMN agreement_sha256 bytea CHECK (length(agreement_sha256) = 32),
  ADD COLUMN agreement_start timestamptz,
  ADD COLUMN agreement_end timestamptz,
  ADD COLUMN attestation_sha256 bytea CHECK (length(attestation_sha256) = 32),
  ADD COLUMN attested_at timestamptz,
  ADD COLUMN attestation_revoked_at timestamptz,
  -- When it was enabled for the first time.
  ADD COLUMN enabled_at timestamptz,
  -- The operator, where one did it.
  ADD COLUMN suspended_by uuid REFERENCES operator,
  ADD COLUMN rate_limit_per_second integer NOT NULL DEFAULT 0,
  ADD COLUMN daily_limit integer NOT NULL DEFAULT 0,
  ADD CONSTRAINT source_registration CHECK ((registered_at IS NULL) = (kind IS NULL)
    AND (kind IS NULL) = (owner_name IS NULL) AND (kind IS NULL) = (owner_uscc IS NULL)
    AND (kind IS NULL) = (registered_by IS NULL)),
  -- Whatever a program tries: no registered source gets traffic without an agreement and an attestation.
  ADD CONSTRAINT source_gate CHECK (NOT enabled OR kind IS NULL
    OR (agreement_end IS NOT NULL AND attested_at IS NOT NULL AND attestation_revoked_at IS NULL));
CREATE INDEX source_agreement_end ON source (agreement_end) WHERE enabled AND kind IS NOT NULL;

CREATE TABLE source_maintenance (
  maintenance_id uuid PRIMARY KEY,
  source_id text NOT NULL REFERENCES source,
  start_at timestamptz NOT NULL,
  end_at timestamptz NOT NULL,
  CHECK (end_at > start_at)
);
CREATE INDEX source_maintenance_source ON source_maintenance (source_id, start_at);
CREATE INDEX source_maintenance_end ON source_maintenance (end_at);

CREATE TABLE tester (
  tester_id text PRIMARY KEY,
  name text NOT NULL,
  uscc text NOT NULL,
  -- Ed25519, SubjectPublicKeyInfo.
  public_key bytea NOT NULL UNIQUE,
  registered_by uuid NOT NULL REFERENCES operator,
  registered_at timestamptz NOT NULL
);

-- A test that was begun, and its report once it is there. The report itself stays with who made it.
CREATE TABLE source_test (
  nonce bytea PRIMARY KEY CHECK (length(nonce) = 32),
  source_id text NOT NULL REFERENCES source,
  kind text NOT NULL CHECK (kind IN ('FUNCTION', 'SECURITY')),
  -- Until when the report is taken.
  expire_at timestamptz NOT NULL,
  tester_id text REFERENCES tester,
  report_sha256 bytea,
  signature bytea,
  passed boolean,
  reported_at timestamptz,
  -- When it counts no more.
  valid_until timestamptz,
  CHECK ((reported_at IS NULL) = (passed IS NULL) AND (reported_at IS NULL) = (valid_until IS NULL))
);
CREATE INDEX source_test_newest ON source_test (source_id, kind, reported_at DESC) WHERE reported_at IS NOT NULL;
CREATE INDEX source_test_expiry ON source_test (expire_at) WHERE reported_at IS NULL;

CREATE TABLE block_rule (
  rule_id uuid PRIMARY KEY,
  application_id text,
  network text,
  -- Never the identifier: HMAC under the key that registry and gateway share.
  identifier_hmac bytea CHECK (length(identifier_hmac) = 32),
  hmac_key_version integer,
  claim_type integer,
  reason_code text NOT NULL,
  created_by uuid NOT NULL REFERENCES operator,
  created_at timestamptz NOT NULL,
  expire_at timestamptz,
  CHECK (num_nonnulls(application_id, network, identifier_hmac, claim_type) = 1),
  CHECK ((identifier_hmac IS NULL) = (hmac_key_version IS NULL))
);
CREATE INDEX block_rule_expiry ON block_rule (expire_at) WHERE expire_at IS NOT NULL;

CREATE TABLE claim_policy (
  policy_id text PRIMARY KEY,
  claim_type integer NOT NULL,
  -- fujie.trust.v1.ClaimPolicy without its end.
  content bytea NOT NULL,
  start_at timestamptz NOT NULL,
  end_at timestamptz,
  state text NOT NULL CHECK (state IN ('PROPOSED', 'APPROVED', 'REFUSED')),
  proposed_by uuid NOT NULL REFERENCES operator,
  decided_by uuid REFERENCES operator,
  CHECK (end_at > start_at),
  CHECK (decided_by IS NULL OR decided_by <> proposed_by)
);
CREATE UNIQUE INDEX claim_policy_start ON claim_policy (claim_type, start_at) WHERE state = 'APPROVED';

-- SZ-24: what was in force stays as it was; only an open end is closed, once.
CREATE FUNCTION refuse_change_of_approved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.end_at IS NULL AND NEW.end_at IS NOT NULL
    AND (OLD.policy_id, OLD.claim_type, OLD.content, OLD.start_at, OLD.state, OLD.proposed_by, OLD.decided_by)
      IS NOT DISTINCT FROM
      (NEW.policy_id, NEW.claim_type, NEW.content, NEW.start_at, NEW.state, NEW.proposed_by, NEW.decided_by) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '% is immutable', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER claim_policy_immutable BEFORE UPDATE OR DELETE ON claim_policy FOR EACH ROW
  WHEN (OLD.state = 'APPROVED')
  EXECUTE FUNCTION refuse_change_of_approved();

CREATE TABLE caps (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  per_identifier_per_day bigint NOT NULL,
  per_network_per_minute bigint NOT NULL
);
