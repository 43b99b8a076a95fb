-- The audit log: entries that are written once, the Merkle tree over them, and what is signed about it.
-- The service's role may add to the log and move its head forward; nobody's role may change or remove an entry.
CREATE SCHEMA audit;
GRANT USAGE ON SCHEMA audit TO :"runtime_role";

-- For whoever has the right to change: the owner, by mistake. A superuser can switch triggers off; that is what the
-- tree and its signed checkpoints are for.
CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is written once: % of % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = '42501';
END
$$;

-- One row for each leaf. The preimage is what the leaf binds; the columns before it repeat what is searched for.
--
-- Partitioned by the dense index, not by the event's month: a unique key of a partitioned table must hold its
-- partition key, so only this keeps an index unique in the whole log. Events may also arrive months late, while the
-- index only grows: the newest partition takes all writes, and an old one ends as a whole once its last entry is past
-- its time. How many entries make a partition is the service's choice (about a month's worth of a province).
CREATE TABLE audit.entry (
  index bigint NOT NULL CHECK (index >= 0),
  time_ms bigint NOT NULL,
  type text NOT NULL,
  trace_id text,
  subject text,
  actor text,
  application_id text,
  salt bytea NOT NULL CHECK (length(salt) = 32),
  preimage bytea NOT NULL CHECK (length(preimage) BETWEEN 1 AND 65535),
  -- Sealed under the data key of that id; unreadable, but still bound by the leaf, once the key is gone.
  details bytea CHECK (length(details) <= 131072),
  details_key uuid,
  CHECK ((details IS NULL) = (details_key IS NULL)),
  PRIMARY KEY (index)
) PARTITION BY RANGE (index);
CREATE INDEX entry_trace ON audit.entry (trace_id, index) INCLUDE (time_ms) WHERE trace_id IS NOT NULL;
CREATE INDEX entry_subject ON audit.entry (subject, index) INCLUDE (time_ms) WHERE subject IS NOT NULL;
CREATE INDEX entry_actor ON audit.entry (actor, index) INCLUDE (time_ms) WHERE actor IS NOT NULL;
CREATE INDEX entry_application ON audit.entry (application_id, index) INCLUDE (time_ms)
  WHERE application_id IS NOT NULL;
CREATE INDEX entry_type ON audit.entry (type, index) INCLUDE (time_ms);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON audit.entry
  FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
GRANT SELECT, INSERT ON audit.entry TO :"runtime_role";

-- Which partitions there are: entries begin_index (included) to end_index (excluded).
CREATE TABLE audit.entry_range (
  begin_index bigint PRIMARY KEY,
  end_index bigint NOT NULL UNIQUE CHECK (end_index > begin_index),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON audit.entry_range TO :"runtime_role";

-- Makes partitions of `width` entries (whole tiles) until they reach `until_index`, at most eight at once, and tells
-- how far they reach. The only DDL that the service can cause. ATTACH instead of PARTITION OF: writers go on.
CREATE FUNCTION audit.ensure_entry_partitions(until_index bigint, width bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  next_index bigint;
  name text;
BEGIN
  IF width < 256 OR width % 256 <> 0 THEN
    RAISE EXCEPTION 'a partition holds whole tiles of 256 entries';
  END IF;
  LOCK TABLE audit.entry_range IN EXCLUSIVE MODE;
  SELECT coalesce(max(r.end_index), 0) INTO next_index FROM audit.entry_range r;
  FOR step IN 1..8 LOOP
    EXIT WHEN next_index >= until_index;
    name := 'entry_' || lpad(next_index::text, 16, '0');
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.entry INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('ALTER TABLE audit.entry ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)',
      name, next_index, next_index + width);
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit.%I
      FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', name);
    INSERT INTO audit.entry_range (begin_index, end_index) VALUES (next_index, next_index + width);
    next_index := next_index + width;
  END LOOP;
  RETURN next_index;
END
$$;
REVOKE ALL ON FUNCTION audit.ensure_entry_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.ensure_entry_partitions TO :"runtime_role";

-- Where each event is. Makes an event id unique in the whole log, across the partitions of its entries.
CREATE TABLE audit.event (
  event_id uuid PRIMARY KEY,
  index bigint NOT NULL
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.event
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
GRANT SELECT, INSERT ON audit.event TO :"runtime_role";

-- Full tiles (c2sp.org/tlog-tiles), written with the entry that completes them. The root of a tile is a hash of the
-- tile above, so a partial tile is a range of these rows, or of entries at level 0.
CREATE TABLE audit.tile (
  level smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
  index bigint NOT NULL CHECK (index >= 0),
  hashes bytea STORAGE EXTERNAL NOT NULL CHECK (length(hashes) = 8192),
  root bytea NOT NULL CHECK (length(root) = 32),
  PRIMARY KEY (level, index)
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.tile
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
GRANT SELECT, INSERT ON audit.tile TO :"runtime_role";

-- The tree's head: moved forward by compare-and-swap in the transaction that writes the entries. The epoch fences off
-- a sequencer that has lost its lead and does not know it yet.
CREATE TABLE audit.head (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  origin text NOT NULL,
  size bigint NOT NULL CHECK (size >= 0),
  root bytea NOT NULL CHECK (length(root) = 32),
  epoch bigint NOT NULL
) WITH (fillfactor = 10);
GRANT SELECT, INSERT, UPDATE ON audit.head TO :"runtime_role";

-- The newest signed checkpoint: always of a size whose root the head has committed.
CREATE TABLE audit.checkpoint (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  size bigint NOT NULL CHECK (size >= 0),
  note text NOT NULL
) WITH (fillfactor = 10);
GRANT SELECT, INSERT, UPDATE ON audit.checkpoint TO :"runtime_role";

-- The head goes forward only: one size never has two roots.
CREATE FUNCTION audit.only_forward() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.origin <> OLD.origin OR NEW.epoch < OLD.epoch OR NEW.size < OLD.size
    OR (NEW.size = OLD.size AND NEW.root <> OLD.root) THEN
    RAISE EXCEPTION 'the head of the audit log goes forward only' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER only_forward BEFORE UPDATE ON audit.head FOR EACH ROW EXECUTE FUNCTION audit.only_forward();
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON audit.head
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

-- The wrapped data keys that details are sealed under: one of each subject. Erasing somebody deletes the row; a later
-- event about the same subject gets a key with another id.
CREATE TABLE audit.subject_key (
  key_id uuid PRIMARY KEY,
  subject text NOT NULL UNIQUE CHECK (length(subject) BETWEEN 1 AND 128),
  wrapped bytea NOT NULL CHECK (length(wrapped) <= 256),
  created_at_ms bigint NOT NULL
);
GRANT SELECT, INSERT, DELETE ON audit.subject_key TO :"runtime_role";
