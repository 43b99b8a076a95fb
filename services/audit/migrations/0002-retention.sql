-- Witnessed checkpoints, months, retention and legal hold, reconciliation with the services' outboxes.

-- Who keeps the log: a role that nobody can log in as. The role that migrates is its member while this file is applied
-- (docs/operations.md) and may not be one afterwards: then nobody but a superuser can drop a partition or change a
-- trigger, and what a superuser does is found by verification.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user || '_keeper' AND NOT rolcanlogin) THEN
    RAISE EXCEPTION 'a role %_keeper without login is needed first: see docs/operations.md', current_user;
  END IF;
  IF NOT pg_has_role(current_user, current_user || '_keeper', 'USAGE') THEN
    RAISE EXCEPTION '% must be a member of %_keeper while it migrates: see docs/operations.md', current_user, current_user;
  END IF;
END
$$;

-- The newest checkpoint that a witness cosigned, with all its signatures.
CREATE TABLE audit.witnessed (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  size bigint NOT NULL CHECK (size >= 0),
  note text NOT NULL CHECK (length(note) <= 1048576)
) WITH (fillfactor = 10);
GRANT SELECT, INSERT, UPDATE ON audit.witnessed TO :"runtime_role";

-- When a partition became the one that is written to: what closes it with its month. And what is left of one that ended.
ALTER TABLE audit.entry_range
  ADD COLUMN began_at_ms bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
  ADD COLUMN dropped_at_ms bigint,
  ADD COLUMN oldest_ms bigint,
  ADD COLUMN newest_ms bigint;

-- Legal hold: entries of that time stay, whatever their age. An open end holds everything since.
CREATE TABLE audit.hold (
  hold_id uuid PRIMARY KEY,
  start_ms bigint NOT NULL,
  end_ms bigint CHECK (end_ms > start_ms),
  reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
  placed_by text NOT NULL,
  placed_at_ms bigint NOT NULL,
  released_by text,
  released_at_ms bigint,
  release_reason text CHECK (length(release_reason) BETWEEN 1 AND 500),
  CHECK ((released_by IS NULL) = (released_at_ms IS NULL) AND (released_by IS NULL) = (release_reason IS NULL))
);
GRANT SELECT, INSERT, UPDATE (released_by, released_at_ms, release_reason) ON audit.hold TO :"runtime_role";
CREATE FUNCTION audit.release_once() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF OLD.released_at_ms IS NOT NULL THEN
    RAISE EXCEPTION 'a hold is released once' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER release_once BEFORE UPDATE ON audit.hold FOR EACH ROW EXECUTE FUNCTION audit.release_once();
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON audit.hold
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

-- Entries handed out as a bundle: asked for by one person, approved by another, then exported.
CREATE TABLE audit.export (
  export_id uuid PRIMARY KEY,
  begin_index bigint NOT NULL CHECK (begin_index >= 0),
  end_index bigint NOT NULL CHECK (end_index > begin_index),
  purpose text NOT NULL,
  reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
  requested_by text NOT NULL,
  requested_at_ms bigint NOT NULL,
  approved_by text CHECK (approved_by <> requested_by),
  approved_at_ms bigint,
  exported_at_ms bigint CHECK (exported_at_ms IS NULL OR approved_by IS NOT NULL)
);
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON audit.export
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
GRANT SELECT, INSERT, UPDATE (approved_by, approved_at_ms, exported_at_ms) ON audit.export TO :"runtime_role";

-- How many events of each service are sealed, moved with the head; and what the service last said it had enqueued.
CREATE TABLE audit.tally (
  service text PRIMARY KEY,
  sealed bigint NOT NULL CHECK (sealed >= 0)
) WITH (fillfactor = 10);
-- Entries from before there was a tally belong to no service here: all together they are the head's size.
INSERT INTO audit.tally SELECT '', h.size FROM audit.head h WHERE h.size > 0;
GRANT SELECT, INSERT, UPDATE ON audit.tally TO :"runtime_role";
CREATE TABLE audit.reconciliation (
  service text PRIMARY KEY,
  enqueued bigint NOT NULL,
  waiting bigint NOT NULL,
  -- Messages that were enqueued, wait no more and are not sealed; negative when more is sealed than was counted.
  missing bigint NOT NULL,
  checked_at_ms bigint NOT NULL
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE ON audit.reconciliation TO :"runtime_role";

-- What a service enqueued, what waits no more, and is not sealed. Else, negative, by how much its count is too small:
-- smaller than what is sealed, or than what it told before. The numbers were read before this looks, so that whatever
-- was sealed meanwhile only makes the log larger.
CREATE FUNCTION audit.missing_events(of_service text, told_enqueued bigint, told_waiting bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN told_enqueued < greatest(sealed, told_before) THEN told_enqueued - greatest(sealed, told_before)
    ELSE greatest(told_enqueued - told_waiting - sealed, 0)
  END
  FROM (SELECT
    coalesce((SELECT t.sealed FROM audit.tally t WHERE t.service = of_service), 0) AS sealed,
    coalesce((SELECT r.enqueued FROM audit.reconciliation r WHERE r.service = of_service), 0) AS told_before) AS known
$$;
REVOKE ALL ON FUNCTION audit.missing_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.missing_events TO :"runtime_role";

-- Ends the partition that is written to when it began before the month: what follows goes into a new one, so that a
-- month's entries can end together. Called when a sequencer takes the lead, with nothing else under way; readers that
-- hold it up for long make it fail, and the next attempt does it. Tells whether a partition was ended.
CREATE FUNCTION audit.begin_month(month_ms bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
  head_size bigint;
  now_ms bigint := greatest(month_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
  part audit.entry_range;
  cut_index bigint;
  old_name text;
  new_name text;
BEGIN
  LOCK TABLE audit.entry_range IN EXCLUSIVE MODE;
  SELECT h.size INTO head_size FROM audit.head h;
  UPDATE audit.entry_range r SET began_at_ms = now_ms WHERE r.begin_index >= head_size AND r.began_at_ms < month_ms;
  SELECT * INTO part FROM audit.entry_range r
    WHERE r.begin_index < head_size AND r.end_index > head_size AND r.began_at_ms < month_ms;
  cut_index := (head_size + 255) / 256 * 256;
  IF part IS NULL OR cut_index >= part.end_index THEN
    RETURN false;
  END IF;
  old_name := 'entry_' || lpad(part.begin_index::text, 16, '0');
  new_name := 'entry_' || lpad(cut_index::text, 16, '0');
  EXECUTE format('ALTER TABLE audit.entry DETACH PARTITION audit.%I', old_name);
  EXECUTE format('ALTER TABLE audit.entry ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)',
    old_name, part.begin_index, cut_index);
  EXECUTE format('CREATE TABLE audit.%I (LIKE audit.entry INCLUDING CONSTRAINTS INCLUDING INDEXES)', new_name);
  EXECUTE format('ALTER TABLE audit.entry ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)',
    new_name, cut_index, part.end_index);
  EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit.%I
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', new_name);
  UPDATE audit.entry_range r SET end_index = cut_index WHERE r.begin_index = part.begin_index;
  INSERT INTO audit.entry_range (begin_index, end_index, began_at_ms) VALUES (cut_index, part.end_index, now_ms);
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION audit.begin_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.begin_month TO :"runtime_role";

-- The only way in which entries end: a whole partition, complete, of which the newest entry is older than 184 days
-- (and than `keep_after_ms`, the longer time that the platform keeps), that no legal hold touches, and that was
-- exported where the platform asks for it. The tiles stay, so every proof and every receipt stays valid.
CREATE FUNCTION audit.drop_partition(first_index bigint, keep_after_ms bigint, exported_only boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
  now_ms bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
  part audit.entry_range;
  name text;
  oldest bigint;
  newest bigint;
BEGIN
  LOCK TABLE audit.entry_range IN EXCLUSIVE MODE;
  LOCK TABLE audit.hold IN SHARE MODE;
  SELECT * INTO part FROM audit.entry_range r WHERE r.begin_index = first_index AND r.dropped_at_ms IS NULL;
  IF part IS NULL OR part.end_index > (SELECT h.size FROM audit.head h) THEN
    RAISE EXCEPTION 'no complete partition begins at entry %', first_index USING ERRCODE = '42501';
  END IF;
  name := 'entry_' || lpad(part.begin_index::text, 16, '0');
  EXECUTE format('SELECT min(time_ms), max(time_ms) FROM audit.%I', name) INTO oldest, newest;
  IF newest IS NULL OR newest >= least(keep_after_ms, now_ms - 184 * 86400000::bigint) THEN
    RAISE EXCEPTION 'the entries from % on are too young to end', first_index USING ERRCODE = '42501';
  END IF;
  IF EXISTS (SELECT FROM audit.hold h
    WHERE h.released_at_ms IS NULL AND h.start_ms <= newest AND coalesce(h.end_ms > oldest, true)) THEN
    RAISE EXCEPTION 'the entries from % on are under legal hold', first_index USING ERRCODE = '42501';
  END IF;
  IF exported_only AND NOT EXISTS (SELECT FROM audit.export e
    WHERE e.exported_at_ms IS NOT NULL AND e.begin_index <= part.begin_index AND e.end_index >= part.end_index) THEN
    RAISE EXCEPTION 'the entries from % on were not exported', first_index USING ERRCODE = '42501';
  END IF;
  EXECUTE format('DROP TABLE audit.%I', name);
  UPDATE audit.entry_range r SET dropped_at_ms = now_ms, oldest_ms = oldest, newest_ms = newest
    WHERE r.begin_index = part.begin_index;
END
$$;
REVOKE ALL ON FUNCTION audit.drop_partition FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.drop_partition TO :"runtime_role";

-- Everything of the log to its keeper: the schema too, since who owns a schema may drop what is in it. The role that
-- migrates may still add to the schema, and read for backups.
DO $$
DECLARE
  owner name := current_user;
  keeper name := current_user || '_keeper';
  item record;
BEGIN
  EXECUTE format('ALTER SCHEMA audit OWNER TO %I', keeper);
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA audit TO %I', owner);
  FOR item IN
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname <> 'subject_key'
  LOOP
    EXECUTE format('ALTER TABLE audit.%I OWNER TO %I', item.relname, keeper);
    EXECUTE format('GRANT SELECT, REFERENCES, TRIGGER ON audit.%I TO %I', item.relname, owner);
  END LOOP;
  FOR item IN SELECT p.oid::regprocedure AS signature FROM pg_proc p WHERE p.pronamespace = 'audit'::regnamespace
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', item.signature, keeper);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', item.signature, owner);
  END LOOP;
END
$$;
