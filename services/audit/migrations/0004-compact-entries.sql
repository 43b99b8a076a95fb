-- The row is the entry: its columns hold every field once, compactly, and the bytes that the leaf binds are a function
-- of them (src/log/row.ts). Entries that are there move over; each must give the bytes that it had, or nothing changes.

DO $$
BEGIN
  IF NOT pg_has_role(current_user, current_user || '_keeper', 'USAGE') THEN
    RAISE EXCEPTION '% must be a member of %_keeper while it migrates: see docs/operations.md', current_user, current_user;
  END IF;
END
$$;

-- Names of services and event types: few, so that an entry holds their numbers.
CREATE TABLE audit.name (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.name
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
GRANT SELECT, INSERT ON audit.name TO :"runtime_role";

DO $$
DECLARE
  part record;
BEGIN
  ALTER TABLE audit.entry RENAME TO wide_entry;
  FOR part IN SELECT inhrelid::regclass AS name FROM pg_inherits WHERE inhparent = 'audit.wide_entry'::regclass LOOP
    EXECUTE format('ALTER TABLE %s RENAME TO %I', part.name, 'wide_' || split_part(part.name::text, '.', 2));
  END LOOP;
END
$$;

-- Wide columns first and no column that is NULL in every row: an entry of the usual kind takes about 250 bytes.
-- Texts (actor to reason) are compact: 16 bytes are a UUID in lower case, 17 bytes of which the last is FF a text of 16
-- bytes, everything else is UTF-8. Empty is absent. The outcome is S(uccess), R(efused), F(ailed) or P(ending).
CREATE TABLE audit.entry (
  index bigint NOT NULL CHECK (index >= 0),
  time_ms bigint NOT NULL CHECK (time_ms >= 0),
  service integer NOT NULL,
  type integer NOT NULL,
  event_id uuid NOT NULL,
  outcome "char" NOT NULL CHECK (outcome IN ('S', 'R', 'F', 'P')),
  actor bytea NOT NULL,
  subject bytea NOT NULL,
  application_id bytea NOT NULL,
  organisation_id bytea NOT NULL,
  trace_id bytea NOT NULL CHECK (length(trace_id) IN (0, 16)),
  purpose bytea NOT NULL,
  reason bytea NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) IN (0, 32)),
  salt bytea NOT NULL CHECK (length(salt) = 32),
  -- Sealed under the data key of that id; unreadable, but still bound by the leaf, once the key is gone.
  details bytea CHECK (length(details) <= 131072),
  details_key uuid,
  CHECK ((details IS NULL) = (details_key IS NULL))
) PARTITION BY RANGE (index);

-- The canonical record of docs/audit-log.md, apart: the values of its fields by tag, empty where there is none.
CREATE FUNCTION pg_temp.fields_of(record bytea) RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
  fields bytea[] := array_fill(''::bytea, ARRAY[14]);
  at integer := 1;
  size integer;
BEGIN
  WHILE at < length(record) LOOP
    size := get_byte(record, at + 3) * 256 + get_byte(record, at + 4);
    fields[get_byte(record, at) * 256 + get_byte(record, at + 1)] := substring(record FROM at + 6 FOR size);
    at := at + 5 + size;
  END LOOP;
  RETURN fields;
END
$$;
CREATE FUNCTION pg_temp.field(tag integer, kind text, value bytea) RETURNS bytea LANGUAGE sql AS $$
  SELECT CASE WHEN tag > 1 AND value = '' THEN '' ELSE
    substring(int4send(tag) FROM 3) || decode(kind, 'hex') || substring(int4send(length(value)) FROM 3) || value END
$$;
CREATE FUNCTION pg_temp.compact(utf8 bytea) RETURNS bytea LANGUAGE sql AS $$
  SELECT CASE
    WHEN length(utf8) = 36 AND encode(utf8, 'escape') ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      THEN decode(replace(encode(utf8, 'escape'), '-', ''), 'hex')
    WHEN length(utf8) = 16 THEN utf8 || '\xff'
    ELSE utf8
  END
$$;
CREATE FUNCTION pg_temp.expand(compact bytea) RETURNS bytea LANGUAGE sql AS $$
  SELECT CASE
    WHEN length(compact) = 16 THEN convert_to(encode(compact, 'hex')::uuid::text, 'UTF8')
    WHEN length(compact) = 17 AND get_byte(compact, 16) = 255 THEN substring(compact FOR 16)
    ELSE compact
  END
$$;

CREATE TEMPORARY TABLE moved ON COMMIT DROP AS
  SELECT index, pg_temp.fields_of(preimage) AS fields FROM audit.wide_entry;
INSERT INTO audit.name (name)
  SELECT DISTINCT convert_from(name, 'UTF8') FROM moved, LATERAL (VALUES (fields[2]), (fields[4])) AS named (name)
  ORDER BY 1;

DO $$
DECLARE
  part audit.entry_range;
  name text;
BEGIN
  FOR part IN SELECT * FROM audit.entry_range r WHERE r.dropped_at_ms IS NULL ORDER BY r.begin_index LOOP
    name := 'entry_' || lpad(part.begin_index::text, 16, '0');
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.entry INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE audit.entry ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)',
      name, part.begin_index, part.end_index);
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit.%I
      FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', name);
  END LOOP;
END
$$;

INSERT INTO audit.entry
  SELECT w.index, ('x' || lpad(encode(m.fields[1], 'hex'), 16, '0'))::bit(64)::bigint, s.id, t.id,
    convert_from(m.fields[3], 'UTF8')::uuid,
    CASE convert_from(m.fields[5], 'UTF8')
      WHEN 'SUCCESS' THEN 'S' WHEN 'REFUSED' THEN 'R' WHEN 'FAILED' THEN 'F' WHEN 'PENDING' THEN 'P' END::"char",
    pg_temp.compact(m.fields[6]), pg_temp.compact(m.fields[7]), pg_temp.compact(m.fields[8]),
    pg_temp.compact(m.fields[9]), decode(convert_from(m.fields[10], 'UTF8'), 'hex'), pg_temp.compact(m.fields[11]),
    pg_temp.compact(m.fields[12]), m.fields[14], w.salt, w.details, w.details_key
  FROM audit.wide_entry w JOIN moved m USING (index)
    JOIN audit.name s ON s.name = convert_from(m.fields[2], 'UTF8')
    JOIN audit.name t ON t.name = convert_from(m.fields[4], 'UTF8')
  ORDER BY w.index;

DO $$
DECLARE
  altered bigint;
BEGIN
  SELECT w.index INTO altered
  FROM audit.wide_entry w LEFT JOIN audit.entry e USING (index)
    LEFT JOIN audit.name s ON s.id = e.service LEFT JOIN audit.name t ON t.id = e.type
  WHERE w.preimage IS DISTINCT FROM '\x01'::bytea
    || pg_temp.field(1, '03', ltrim(int8send(e.time_ms), '\x00'))
    || pg_temp.field(2, '02', convert_to(s.name, 'UTF8'))
    || pg_temp.field(3, '02', convert_to(e.event_id::text, 'UTF8'))
    || pg_temp.field(4, '02', convert_to(t.name, 'UTF8'))
    || pg_temp.field(5, '02', CASE e.outcome
      WHEN 'S' THEN 'SUCCESS' WHEN 'R' THEN 'REFUSED' WHEN 'F' THEN 'FAILED' WHEN 'P' THEN 'PENDING' END::bytea)
    || pg_temp.field(6, '02', pg_temp.expand(e.actor))
    || pg_temp.field(7, '02', pg_temp.expand(e.subject))
    || pg_temp.field(8, '02', pg_temp.expand(e.application_id))
    || pg_temp.field(9, '02', pg_temp.expand(e.organisation_id))
    || pg_temp.field(10, '02', convert_to(encode(e.trace_id, 'hex'), 'UTF8'))
    || pg_temp.field(11, '02', pg_temp.expand(e.purpose))
    || pg_temp.field(12, '02', pg_temp.expand(e.reason))
    || pg_temp.field(13, '01', coalesce(sha256(e.details), ''))
    || pg_temp.field(14, '01', e.digest)
  LIMIT 1;
  IF altered IS NOT NULL THEN
    RAISE EXCEPTION 'entry % is not as it was sealed: verify the log and restore it first', altered;
  END IF;
END
$$;
DROP TABLE audit.wide_entry;

ALTER TABLE audit.entry ADD PRIMARY KEY (index);
CREATE INDEX entry_trace ON audit.entry (trace_id, index) WHERE trace_id <> '';
CREATE INDEX entry_subject ON audit.entry (subject, index) WHERE subject <> '';
CREATE INDEX entry_actor ON audit.entry (actor, index) WHERE actor <> '';
CREATE INDEX entry_application ON audit.entry (application_id, index) WHERE application_id <> '';
CREATE INDEX entry_type ON audit.entry (type, index);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON audit.entry
  FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
GRANT SELECT, INSERT ON audit.entry TO :"runtime_role";

-- To the keeper, like the rest of the log.
DO $$
DECLARE
  owner name := current_user;
  keeper name := current_user || '_keeper';
  item record;
BEGIN
  FOR item IN
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname ~ '^(name|entry|entry_\d{16})$'
  LOOP
    EXECUTE format('ALTER TABLE audit.%I OWNER TO %I', item.relname, keeper);
    EXECUTE format('GRANT SELECT, REFERENCES, TRIGGER ON audit.%I TO %I', item.relname, owner);
  END LOOP;
END
$$;
