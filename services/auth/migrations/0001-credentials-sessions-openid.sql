-- What auth keeps. Nobody's name or identifier is here in the clear: login names are keyed digests, password hashes
-- and the OpenID library's records are sealed under auth's ring.
CREATE SCHEMA auth;
GRANT USAGE ON SCHEMA auth TO :"runtime_role";

-- One password per account. Sealed, so that a copied database alone cannot be guessed at, and bound to its account, so
-- that hashes cannot be exchanged between rows.
CREATE TABLE auth.password (
  account_id uuid PRIMARY KEY,
  sealed_hash bytea NOT NULL CHECK (length(sealed_hash) <= 1024),
  bound_at_ms bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.password TO :"runtime_role";

-- The blind index over login names: a row for each live version of the key.
CREATE TABLE auth.login_name (
  version smallint NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  account_id uuid NOT NULL REFERENCES auth.password ON DELETE CASCADE,
  PRIMARY KEY (version, digest)
);
CREATE INDEX login_name_account ON auth.login_name (account_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.login_name TO :"runtime_role";

-- OAuth clients, as the registry tells them.
CREATE TABLE auth.client (
  client_id text PRIMARY KEY CHECK (length(client_id) BETWEEN 1 AND 128),
  application_id text NOT NULL CHECK (length(application_id) BETWEEN 1 AND 64),
  kind text NOT NULL CHECK (kind IN ('CONFIDENTIAL', 'NATIVE')),
  enabled boolean NOT NULL,
  name text NOT NULL,
  redirect_uris text[] NOT NULL,
  scopes text[] NOT NULL,
  sector text NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON auth.client TO :"runtime_role";

-- Keyed digests of client secrets: the newest without an end, the one before with an hour of overlap.
CREATE TABLE auth.client_secret (
  digest bytea PRIMARY KEY CHECK (length(digest) = 32),
  client_id text NOT NULL,
  issued_at_ms bigint NOT NULL,
  expires_at_ms bigint
);
CREATE INDEX client_secret_client ON auth.client_secret (client_id);
CREATE INDEX client_secret_expiry ON auth.client_secret (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.client_secret TO :"runtime_role";

-- What a certificate's holder signs to sign in. Single use is the insert into challenge_use.
CREATE TABLE auth.challenge (
  challenge_id uuid PRIMARY KEY,
  interaction text NOT NULL CHECK (length(interaction) BETWEEN 1 AND 64),
  message bytea NOT NULL CHECK (length(message) <= 2048),
  expires_at_ms bigint NOT NULL
);
CREATE INDEX challenge_interaction ON auth.challenge (interaction, expires_at_ms);
CREATE INDEX challenge_expiry ON auth.challenge (expires_at_ms);
GRANT SELECT, INSERT, DELETE ON auth.challenge TO :"runtime_role";

CREATE TABLE auth.challenge_use (
  challenge_id uuid PRIMARY KEY,
  expires_at_ms bigint NOT NULL
);
CREATE INDEX challenge_use_expiry ON auth.challenge_use (expires_at_ms);
GRANT SELECT, INSERT, DELETE ON auth.challenge_use TO :"runtime_role";

-- The one kind of session, whatever the method of signing in. `interaction` makes a double submit one session.
CREATE TABLE auth.session (
  session_id uuid PRIMARY KEY,
  interaction text NOT NULL UNIQUE CHECK (length(interaction) BETWEEN 1 AND 64),
  subject uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('person', 'operator')),
  methods text[] NOT NULL CHECK (cardinality(methods) BETWEEN 1 AND 8),
  level smallint NOT NULL DEFAULT 0,
  started_at_ms bigint NOT NULL,
  authenticated_at_ms bigint NOT NULL,
  used_at_ms bigint NOT NULL,
  expires_at_ms bigint NOT NULL,
  ended_at_ms bigint
) WITH (fillfactor = 80);
CREATE INDEX session_subject ON auth.session (subject, started_at_ms DESC);
CREATE INDEX session_expiry ON auth.session (expires_at_ms);
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.session TO :"runtime_role";

-- The OpenID library's records. Ids of codes, refresh tokens and cookies are bearer secrets of at least 126 random bits:
-- only their SHA-256 is kept. session_id is the session that the record lives and dies with.
CREATE TABLE auth.openid_record (
  model text NOT NULL CHECK (length(model) BETWEEN 1 AND 40),
  digest bytea NOT NULL CHECK (length(digest) = 32),
  uid text,
  grant_id text,
  session_id uuid,
  sealed bytea NOT NULL CHECK (length(sealed) <= 65536),
  consumed boolean NOT NULL DEFAULT false,
  expires_at_ms bigint NOT NULL,
  PRIMARY KEY (model, digest)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX openid_record_uid ON auth.openid_record (model, uid) WHERE uid IS NOT NULL;
CREATE INDEX openid_record_grant ON auth.openid_record (grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX openid_record_session ON auth.openid_record (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX openid_record_expiry ON auth.openid_record (expires_at_ms);
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.openid_record TO :"runtime_role";

-- The organisation that a grant's tokens act for.
CREATE TABLE auth.grant_organisation (
  grant_id text PRIMARY KEY CHECK (length(grant_id) BETWEEN 1 AND 64),
  organisation_id text NOT NULL CHECK (length(organisation_id) BETWEEN 1 AND 36),
  expires_at_ms bigint NOT NULL
);
CREATE INDEX grant_organisation_expiry ON auth.grant_organisation (expires_at_ms);
GRANT SELECT, INSERT, DELETE ON auth.grant_organisation TO :"runtime_role";
