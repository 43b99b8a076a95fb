-- What the trust-gateway keeps. Elements of a claim are never here in the clear: keyed digests for good, and the sealed
-- elements of a verification for as long as it is pending.
CREATE SCHEMA trust;
GRANT USAGE ON SCHEMA trust TO :"runtime_role";

-- The newest policy that the registry has put, and when it was last renewed.
CREATE TABLE trust.policy (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  version bigint NOT NULL,
  content bytea NOT NULL,
  applied_at_ms bigint NOT NULL,
  renewed_at_ms bigint NOT NULL
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE ON trust.policy TO :"runtime_role";

-- One question, and its answer once it is decided. A row of the registry's has a reference, any other an application.
CREATE TABLE trust.verification (
  verification_id uuid PRIMARY KEY,
  application_id text,
  reference text,
  claim_type text NOT NULL,
  purpose text NOT NULL,
  -- "consent:<grant id>", "legal-basis:<code>" or "registry".
  ground text NOT NULL,
  account_id text,
  level_wanted smallint NOT NULL,
  elements_version integer NOT NULL,
  elements_digest bytea NOT NULL CHECK (length(elements_digest) = 32),
  state text NOT NULL CHECK (state IN ('PENDING', 'VERIFIED', 'REJECTED')),
  pending_reason text CHECK (pending_reason IN ('SOURCE_AWAY', 'REVIEW')),
  -- Erased with the decision.
  sealed_elements bytea,
  level smallint NOT NULL DEFAULT 0,
  decided_at_ms bigint,
  -- fujie.trust.v1.Receipt without its salt.
  receipt bytea,
  -- Known to the caller only, in the end: erased after salt_expires_at_ms.
  sealed_salt bytea,
  salt_expires_at_ms bigint,
  attempts integer NOT NULL DEFAULT 0,
  -- At once the lease of the process that asks and the pause before the next attempt; absent: nobody asks by itself.
  next_attempt_at_ms bigint,
  trace_id text NOT NULL DEFAULT '',
  created_at_ms bigint NOT NULL,
  expires_at_ms bigint,
  CHECK ((application_id IS NULL) <> (reference IS NULL)),
  CHECK ((state = 'PENDING') = (sealed_elements IS NOT NULL)),
  CHECK ((state = 'PENDING') = (decided_at_ms IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX verification_due ON trust.verification (next_attempt_at_ms) WHERE next_attempt_at_ms IS NOT NULL;
CREATE INDEX verification_salt ON trust.verification (salt_expires_at_ms) WHERE salt_expires_at_ms IS NOT NULL;
CREATE INDEX verification_expiry ON trust.verification (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON trust.verification TO :"runtime_role";

-- What a source is asked under: written before the call, so that after a crash the outcome is asked for and nothing is
-- paid twice.
CREATE TABLE trust.source_check (
  verification_id uuid NOT NULL REFERENCES trust.verification ON DELETE CASCADE,
  source_id text NOT NULL,
  biz_seq text NOT NULL UNIQUE CHECK (biz_seq ~ '^[0-9a-f]{32}$'),
  nonce bytea NOT NULL CHECK (length(nonce) = 32),
  asked_at_ms bigint NOT NULL,
  PRIMARY KEY (verification_id, source_id)
);
GRANT SELECT, INSERT, DELETE ON trust.source_check TO :"runtime_role";

-- What sources said. The MAC binds a row to its verification and elements: nobody without the key can invent one.
CREATE TABLE trust.evidence (
  evidence_id uuid PRIMARY KEY,
  -- Absent for a certificate that was checked on its own.
  verification_id uuid REFERENCES trust.verification ON DELETE CASCADE,
  source_id text NOT NULL,
  verdict text NOT NULL CHECK (verdict IN ('MATCH', 'MISMATCH', 'NO_RECORD', 'UNAVAILABLE')),
  level smallint NOT NULL,
  checked_at_ms bigint NOT NULL,
  subject_digest bytea NOT NULL CHECK (length(subject_digest) = 32),
  mac bytea NOT NULL CHECK (length(mac) = 32),
  expires_at_ms bigint,
  UNIQUE (verification_id, source_id)
);
CREATE INDEX evidence_expiry ON trust.evidence (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON trust.evidence TO :"runtime_role";

-- Consent grants that were used: single use is the primary key.
CREATE TABLE trust.grant_use (
  grant_id text PRIMARY KEY,
  verification_id uuid NOT NULL,
  expires_at_ms bigint NOT NULL
);
CREATE INDEX grant_use_expiry ON trust.grant_use (expires_at_ms);
GRANT SELECT, INSERT, DELETE ON trust.grant_use TO :"runtime_role";

-- The highest number seen of each issuer's revocation lists: an older list is noticed on every replica.
CREATE TABLE trust.crl_number (
  issuer_fingerprint text PRIMARY KEY,
  number numeric NOT NULL
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE ON trust.crl_number TO :"runtime_role";
