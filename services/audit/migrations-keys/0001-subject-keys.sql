-- A database of its own for the wrapped data keys, because its backups end after seven days and the log's do not: what
-- was erased must not come back with a backup of the log.
DO $$
BEGIN
  EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA kit FROM PUBLIC;
GRANT USAGE ON SCHEMA kit TO :"runtime_role";
GRANT SELECT ON kit.migration TO :"runtime_role";

CREATE SCHEMA keys;
GRANT USAGE ON SCHEMA keys TO :"runtime_role";

-- What details are sealed under. A subject may have several keys (two appends at once, a key that moved here): the
-- newest seals, all open, and all go together. A key that nothing was sealed under is harmless.
CREATE TABLE keys.subject_key (
  key_id uuid PRIMARY KEY,
  subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 128),
  wrapped bytea NOT NULL CHECK (length(wrapped) <= 256),
  created_at_ms bigint NOT NULL
);
CREATE INDEX subject_key_subject ON keys.subject_key (subject, created_at_ms);
GRANT SELECT, INSERT, DELETE ON keys.subject_key TO :"runtime_role";

-- The erasures that the log tells of below this index were carried out on the keys in this database. It goes back with
-- them when a backup is restored, and so says what must be erased again.
CREATE TABLE keys.erased_until (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  index bigint NOT NULL CHECK (index >= 0)
);
GRANT SELECT, INSERT, UPDATE ON keys.erased_until TO :"runtime_role";
