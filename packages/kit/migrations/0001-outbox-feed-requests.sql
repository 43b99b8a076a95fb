-- What every service of the platform keeps beside its own tables.
-- The service's role reads and writes rows; the structure belongs to the role that migrates.
DO $$
BEGIN
  EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA kit FROM PUBLIC;
GRANT USAGE ON SCHEMA kit TO :"runtime_role";
GRANT SELECT ON kit.migration TO :"runtime_role";

-- Messages on their way right. A row is born in the transaction of what it tells and dies after the acknowledgement.
-- not_before_ms is at once the lease of the relay that delivers it and the pause of a message that was refused.
CREATE TABLE kit.outbox (
  destination text NOT NULL CHECK (length(destination) BETWEEN 1 AND 60),
  tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  seq bigint GENERATED ALWAYS AS IDENTITY,
  id uuid NOT NULL,
  payload bytea NOT NULL CHECK (length(payload) <= 1048576),
  attempts integer NOT NULL DEFAULT 0,
  not_before_ms bigint NOT NULL DEFAULT 0,
  enqueued_at_ms bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
  PRIMARY KEY (destination, tx, seq)
) WITH (
  -- Leases are taken in place (no index holds them), and a queue that is mostly dead rows is vacuumed by count.
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
);
GRANT SELECT, INSERT, UPDATE, DELETE ON kit.outbox TO :"runtime_role";

-- Events that others follow. Ordered by the transaction's id and read only below the oldest transaction that still
-- runs: commits may come in any order, and nothing is passed over.
CREATE TABLE kit.feed_event (
  topic text NOT NULL CHECK (length(topic) BETWEEN 1 AND 60),
  tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  seq bigint GENERATED ALWAYS AS IDENTITY,
  type_url text NOT NULL,
  value bytea NOT NULL CHECK (length(value) <= 262144),
  written_at_ms bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
  PRIMARY KEY (topic, tx, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
GRANT SELECT, INSERT, DELETE ON kit.feed_event TO :"runtime_role";

-- The last event of each topic that was removed by age: an older resume token has a gap before it.
CREATE TABLE kit.feed_horizon (
  topic text PRIMARY KEY,
  tx xid8 NOT NULL,
  seq bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON kit.feed_horizon TO :"runtime_role";

-- Where this service stands in the topics that it follows, and which of its replicas follows now.
CREATE TABLE kit.feed_position (
  topic text PRIMARY KEY,
  resume_token text NOT NULL DEFAULT '',
  fresh_at_ms bigint NOT NULL DEFAULT 0,
  holder uuid NOT NULL,
  lease_until_ms bigint NOT NULL
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE ON kit.feed_position TO :"runtime_role";

-- Repeatable writes: who asked what, and the sealed answer.
CREATE TABLE kit.request (
  caller text NOT NULL,
  method text NOT NULL,
  request_id text NOT NULL CHECK (length(request_id) BETWEEN 1 AND 100),
  digest bytea NOT NULL,
  response bytea,
  finished boolean NOT NULL DEFAULT false,
  expires_at_ms bigint NOT NULL,
  PRIMARY KEY (caller, method, request_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX request_expiry ON kit.request (expires_at_ms);
GRANT SELECT, INSERT, UPDATE, DELETE ON kit.request TO :"runtime_role";
