-- Who exists and who may act. Personal data is sealed under a key per subject (subject_key), and found by keyed digests.
-- The service's role gets rows of these tables by default privileges (packages/embedded, docs/runbooks): no structure.

-- The identity vault. A subject is a person's account or an organisation; both share its id.
CREATE TABLE subject (
  subject_id uuid PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('person', 'organisation')),
  identifier_sealed bytea NOT NULL,
  name_sealed bytea NOT NULL,
  login_name_sealed bytea,
  -- When what is kept has to be unreadable: the wrapped key is destroyed then.
  erase_at timestamptz
);
CREATE INDEX subject_erasure ON subject (erase_at) WHERE erase_at IS NOT NULL;

-- Destroying a row erases everything that is sealed under it, in backups too once those of this table are gone.
CREATE TABLE subject_key (
  subject_id uuid PRIMARY KEY REFERENCES subject,
  wrapped bytea NOT NULL
);

-- What makes an identifier unique (SZ-3.1, SZ-3.2). Every live version of the digest key has a row.
CREATE TABLE identifier_digest (
  kind text NOT NULL CHECK (kind IN ('citizen-id', 'uscc', 'login-name')),
  version integer NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  subject_id uuid NOT NULL REFERENCES subject,
  PRIMARY KEY (kind, version, digest)
);
-- One identifier of a kind per subject.
CREATE UNIQUE INDEX identifier_digest_subject ON identifier_digest (subject_id, kind, version);

-- What applications know a person as: random, gone with the account.
CREATE TABLE pairwise_subject (
  subject_id uuid NOT NULL REFERENCES subject,
  sector text NOT NULL,
  pairwise_id text NOT NULL UNIQUE,
  PRIMARY KEY (subject_id, sector)
);

CREATE TABLE account (
  account_id uuid PRIMARY KEY REFERENCES subject,
  state text NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'SUSPENDED', 'CANCELLED')),
  -- Derived from evidence and links (SU-7.1.1d); kept here so that reading it costs nothing.
  level smallint NOT NULL CHECK (level BETWEEN 1 AND 3),
  created_at timestamptz NOT NULL,
  cancelled_at timestamptz,
  CHECK ((state = 'CANCELLED') = (cancelled_at IS NOT NULL)),
  CHECK (state = 'ACTIVE' OR level = 1 OR state = 'SUSPENDED')
);

-- Who said what about a subject. The MAC keeps a database administrator from inventing one.
CREATE TABLE evidence (
  subject_id uuid NOT NULL REFERENCES subject,
  evidence_id text NOT NULL,
  source_id text NOT NULL,
  level smallint NOT NULL,
  checked_at timestamptz NOT NULL,
  mac bytea NOT NULL,
  PRIMARY KEY (subject_id, evidence_id)
);

CREATE TABLE registration (
  registration_id uuid PRIMARY KEY,
  account_id uuid NOT NULL UNIQUE REFERENCES account,
  application_id text NOT NULL,
  entered_by text NOT NULL,
  state text NOT NULL CHECK (state IN ('SUBMITTED', 'VERIFIED', 'REJECTED', 'CONFIRMED', 'EXPIRED')),
  agreement_version text NOT NULL,
  agreement_sha256 bytea NOT NULL,
  notice_version text NOT NULL,
  accepted_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  expire_at timestamptz NOT NULL,
  -- When the gateway is to be asked again; NULL once it has taken the question.
  ask_at timestamptz,
  ask_attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX registration_ask ON registration (ask_at) WHERE ask_at IS NOT NULL;
CREATE INDEX registration_expiry ON registration (expire_at) WHERE state IN ('SUBMITTED', 'VERIFIED');

-- Finds open registrations at the counter. Not unique: a pending registration holds no identifier (no squatting).
CREATE TABLE registration_digest (
  version integer NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  registration_id uuid NOT NULL REFERENCES registration,
  PRIMARY KEY (version, digest, registration_id)
);
CREATE INDEX registration_digest_registration ON registration_digest (registration_id);

CREATE TABLE document (
  document_id uuid PRIMARY KEY,
  registration_id uuid NOT NULL REFERENCES registration,
  subject_id uuid NOT NULL REFERENCES subject,
  type text NOT NULL,
  media_type text NOT NULL,
  sha256 bytea NOT NULL CHECK (length(sha256) = 32),
  content_sealed bytea NOT NULL,
  operator_id uuid NOT NULL,
  archived_at timestamptz NOT NULL
);
CREATE INDEX document_registration ON document (registration_id);
CREATE INDEX document_subject ON document (subject_id);

-- The operator's signed word. `proof_sealed` holds the signed bytes, the signature and the certificates.
CREATE TABLE counter_decision (
  registration_id uuid PRIMARY KEY REFERENCES registration,
  operator_id uuid NOT NULL,
  decision text NOT NULL CHECK (decision IN ('CONFIRM', 'REFUSE')),
  decided_at timestamptz NOT NULL,
  document_ids uuid[] NOT NULL,
  proof_sealed bytea NOT NULL
);

-- One-time codes, by keyed digest. Redeeming deletes the row.
CREATE TABLE enrolment (
  version integer NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  holder_kind text NOT NULL CHECK (holder_kind IN ('account', 'client')),
  holder_id text NOT NULL,
  expire_at timestamptz NOT NULL,
  -- The one request that took the code; only that one may ask again.
  redeemed_by text,
  PRIMARY KEY (version, digest)
);
CREATE INDEX enrolment_holder ON enrolment (holder_kind, holder_id);
CREATE INDEX enrolment_expiry ON enrolment (expire_at);

-- Used once: taking one deletes the row.
CREATE TABLE challenge (
  challenge_id uuid PRIMARY KEY,
  purpose text NOT NULL,
  subject text NOT NULL,
  session text NOT NULL,
  message bytea NOT NULL,
  expire_at timestamptz NOT NULL
);
CREATE INDEX challenge_expiry ON challenge (expire_at);

CREATE TABLE organisation (
  organisation_id uuid PRIMARY KEY REFERENCES subject,
  state text NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'REJECTED', 'SUSPENDED', 'CANCELLED')),
  -- What the legal-person base is asked now: first whether the registrar is its representative, else whether it exists.
  question text NOT NULL CHECK (question IN ('REPRESENTATIVE', 'EXISTENCE')),
  registered_by uuid NOT NULL REFERENCES account,
  certificate_ca text NOT NULL,
  certificate_sha256 bytea NOT NULL,
  agreement_version text NOT NULL,
  agreement_sha256 bytea NOT NULL,
  notice_version text NOT NULL,
  accepted_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  ask_at timestamptz,
  ask_attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX organisation_ask ON organisation (ask_at) WHERE ask_at IS NOT NULL;

CREATE TABLE delegation (
  delegation_id uuid PRIMARY KEY,
  organisation_id uuid NOT NULL REFERENCES organisation,
  account_id uuid NOT NULL REFERENCES account,
  role text NOT NULL CHECK (role IN ('LEGAL_REPRESENTATIVE', 'ADMINISTRATOR', 'CLERK')),
  -- The delegation under which it was given: it ends with that one.
  parent_id uuid REFERENCES delegation,
  granted_at timestamptz NOT NULL,
  -- NULL: as long as the legal-person base says so.
  expire_at timestamptz,
  ended_at timestamptz,
  CHECK ((role = 'LEGAL_REPRESENTATIVE') = (parent_id IS NULL))
);
-- One role per person and organisation, one legal representative per organisation.
CREATE UNIQUE INDEX delegation_holder ON delegation (organisation_id, account_id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX delegation_representative ON delegation (organisation_id)
  WHERE ended_at IS NULL AND role = 'LEGAL_REPRESENTATIVE';
CREATE INDEX delegation_account ON delegation (account_id) WHERE ended_at IS NULL;
CREATE INDEX delegation_parent ON delegation (parent_id) WHERE ended_at IS NULL;
CREATE INDEX delegation_page ON delegation (organisation_id, delegation_id) WHERE ended_at IS NULL;
CREATE INDEX delegation_expiry ON delegation (expire_at) WHERE ended_at IS NULL;

CREATE TABLE application (
  application_id uuid PRIMARY KEY,
  client_id text NOT NULL UNIQUE,
  provider_name text NOT NULL,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('CONFIDENTIAL', 'NATIVE')),
  redirect_uris text[] NOT NULL,
  scopes text[] NOT NULL,
  sector text NOT NULL,
  purposes jsonb NOT NULL,
  rate_limit_per_second integer NOT NULL,
  enabled boolean NOT NULL,
  created_at timestamptz NOT NULL
);

CREATE TABLE consent (
  grant_id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES account,
  application_id uuid NOT NULL REFERENCES application,
  purpose text NOT NULL,
  claim_type text NOT NULL,
  granted_at timestamptz NOT NULL,
  expire_at timestamptz NOT NULL,
  withdrawn_at timestamptz
);
CREATE INDEX consent_page ON consent (account_id, grant_id);
CREATE INDEX consent_expiry ON consent (expire_at);
CREATE INDEX consent_withdrawn ON consent (expire_at) WHERE withdrawn_at IS NOT NULL;

CREATE TABLE operator (
  operator_id uuid PRIMARY KEY,
  role text NOT NULL CHECK (role IN
    ('SYSTEM_ADMINISTRATOR', 'SECURITY_ADMINISTRATOR', 'AUDIT_ADMINISTRATOR', 'COUNTER_OPERATOR')),
  -- The CA of the certificate that the operator is bound to.
  ca_id text NOT NULL,
  reviewed_until timestamptz NOT NULL,
  created_at timestamptz NOT NULL
);
-- Whose certificate: one operator per person.
CREATE TABLE operator_digest (
  version integer NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  operator_id uuid NOT NULL REFERENCES operator,
  PRIMARY KEY (version, digest)
);
CREATE INDEX operator_digest_operator ON operator_digest (operator_id);

CREATE TABLE operator_proposal (
  proposal_id uuid PRIMARY KEY,
  role text NOT NULL,
  ca_id text NOT NULL,
  versions integer[] NOT NULL,
  digests bytea[] NOT NULL,
  state text NOT NULL CHECK (state IN ('OPEN', 'APPROVED', 'REFUSED')),
  proposed_by uuid NOT NULL REFERENCES operator,
  decided_by uuid REFERENCES operator,
  expire_at timestamptz NOT NULL
);

-- At most one row, for ever: the ceremony of the first administrators cannot run twice.
CREATE TABLE ceremony (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  code_digest bytea NOT NULL,
  expire_at timestamptz NOT NULL,
  completed_at timestamptz
);

CREATE TABLE source (
  source_id text PRIMARY KEY,
  enabled boolean NOT NULL
);

-- Grows with every change of what the gateway is told.
CREATE TABLE policy (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  version bigint NOT NULL
);
INSERT INTO policy (version) VALUES (1);

-- SZ-15.1: whatever a program or an administrator tries, an identity cannot be changed into another one.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is immutable', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER subject_immutable BEFORE UPDATE ON subject FOR EACH ROW
  WHEN ((OLD.subject_id, OLD.kind, OLD.identifier_sealed, OLD.name_sealed)
    IS DISTINCT FROM (NEW.subject_id, NEW.kind, NEW.identifier_sealed, NEW.name_sealed))
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER subject_key_immutable BEFORE UPDATE ON subject_key FOR EACH ROW
  WHEN (OLD.subject_id IS DISTINCT FROM NEW.subject_id)
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER identifier_digest_immutable BEFORE UPDATE ON identifier_digest FOR EACH ROW
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER pairwise_subject_immutable BEFORE UPDATE ON pairwise_subject FOR EACH ROW
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER evidence_immutable BEFORE UPDATE OR DELETE ON evidence FOR EACH ROW
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER account_immutable BEFORE UPDATE ON account FOR EACH ROW
  WHEN (OLD.account_id IS DISTINCT FROM NEW.account_id OR OLD.state = 'CANCELLED')
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER organisation_immutable BEFORE UPDATE ON organisation FOR EACH ROW
  WHEN (OLD.organisation_id IS DISTINCT FROM NEW.organisation_id OR OLD.state IN ('REJECTED', 'CANCELLED'))
  EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ceremony_final BEFORE UPDATE OR DELETE ON ceremony FOR EACH ROW
  WHEN (OLD.completed_at IS NOT NULL)
  EXECUTE FUNCTION refuse_change();

-- An identifier is given free only by who has left: else it could be swapped by deleting and inserting.
CREATE FUNCTION refuse_release_by_the_living() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM account WHERE account_id = OLD.subject_id AND state <> 'CANCELLED')
    OR EXISTS (SELECT FROM organisation
      WHERE organisation_id = OLD.subject_id AND state NOT IN ('REJECTED', 'CANCELLED')) THEN
    RAISE EXCEPTION 'the identifier of a living subject is immutable' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN OLD;
END
$$;
CREATE TRIGGER identifier_digest_release BEFORE DELETE ON identifier_digest FOR EACH ROW
  EXECUTE FUNCTION refuse_release_by_the_living();
