-- Bulk reads, incidents, analysis, the calendar, assistance cases and statistics. What was said or decided is written
-- once: the service's role may add, and the triggers refuse change and removal to the owner, too.

-- How many entries somebody read lately; removed after an hour.
CREATE TABLE audit.read_use (
  actor text NOT NULL,
  read_at_ms bigint NOT NULL,
  entries integer NOT NULL CHECK (entries > 0)
);
CREATE INDEX read_use_actor ON audit.read_use (actor, read_at_ms);
CREATE INDEX read_use_expiry ON audit.read_use (read_at_ms);
GRANT SELECT, INSERT, DELETE ON audit.read_use TO :"runtime_role";

CREATE TABLE audit.bulk_read (
  bulk_read_id uuid PRIMARY KEY,
  requested_by text NOT NULL,
  requested_at_ms bigint NOT NULL,
  reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
  -- The question as protobuf; its digest is what a page is compared with.
  question bytea NOT NULL CHECK (length(question) <= 4096)
);
CREATE TABLE audit.bulk_read_approval (
  bulk_read_id uuid PRIMARY KEY REFERENCES audit.bulk_read,
  approved_by text NOT NULL,
  expire_at_ms bigint NOT NULL
);

CREATE TABLE audit.incident (
  incident_id uuid PRIMARY KEY,
  kind text NOT NULL,
  drill boolean NOT NULL,
  -- As whoever detected it says; the server's own time stands beside it.
  detected_at_ms bigint NOT NULL CHECK (detected_at_ms >= 0 AND detected_at_ms <= opened_at_ms),
  opened_at_ms bigint NOT NULL,
  opened_by text NOT NULL,
  -- A data key of its own, wrapped; seals the summary and the reports.
  wrapped bytea NOT NULL,
  summary_sealed bytea NOT NULL
);
-- Reached levels of escalation; level 4 is the missed deadline.
CREATE TABLE audit.incident_escalation (
  incident_id uuid NOT NULL REFERENCES audit.incident,
  level smallint NOT NULL CHECK (level BETWEEN 1 AND 4),
  reached_at_ms bigint NOT NULL,
  PRIMARY KEY (incident_id, level)
);
CREATE TABLE audit.incident_evidence (
  evidence_id uuid PRIMARY KEY,
  incident_id uuid NOT NULL REFERENCES audit.incident,
  frozen_at_ms bigint NOT NULL,
  frozen_by text NOT NULL,
  entries integer NOT NULL CHECK (entries BETWEEN 1 AND 500),
  digest bytea NOT NULL CHECK (length(digest) = 32),
  bundle bytea NOT NULL
);
CREATE INDEX incident_evidence_incident ON audit.incident_evidence (incident_id);
-- Revision 1 is the report, later ones amend it; revisions are dense.
CREATE TABLE audit.incident_report (
  incident_id uuid NOT NULL REFERENCES audit.incident,
  revision integer NOT NULL CHECK (revision BETWEEN 1 AND 1000),
  submitted_at_ms bigint NOT NULL,
  submitted_by text NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  document_sealed bytea NOT NULL,
  key_id text NOT NULL,
  signature bytea NOT NULL,
  PRIMARY KEY (incident_id, revision)
);
-- The answer of the managing authority: what proves a delivery.
CREATE TABLE audit.incident_receipt (
  incident_id uuid NOT NULL,
  revision integer NOT NULL,
  received_at_ms bigint NOT NULL,
  signed boolean NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  answer bytea NOT NULL CHECK (length(answer) <= 65536),
  PRIMARY KEY (incident_id, revision),
  FOREIGN KEY (incident_id, revision) REFERENCES audit.incident_report
);
-- What is still to be delivered, and when it is tried next. Not history: the one table here that changes.
CREATE TABLE audit.incident_delivery (
  incident_id uuid NOT NULL,
  revision integer NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at_ms bigint NOT NULL,
  delivered boolean NOT NULL DEFAULT false,
  PRIMARY KEY (incident_id, revision),
  FOREIGN KEY (incident_id, revision) REFERENCES audit.incident_report
);
CREATE INDEX incident_delivery_due ON audit.incident_delivery (next_attempt_at_ms) WHERE NOT delivered;
GRANT SELECT, INSERT, UPDATE ON audit.incident_delivery TO :"runtime_role";

-- A time by the server cannot be given by the caller, and a revision cannot come before the one it follows.
CREATE FUNCTION audit.refuse_back_dating() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.revision > 1 AND NOT EXISTS (
    SELECT FROM audit.incident_report r WHERE r.incident_id = NEW.incident_id AND r.revision = NEW.revision - 1
      AND r.submitted_at_ms <= NEW.submitted_at_ms
  ) THEN
    RAISE EXCEPTION 'an amendment follows what it amends' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER refuse_back_dating BEFORE INSERT ON audit.incident_report
  FOR EACH ROW EXECUTE FUNCTION audit.refuse_back_dating();

-- The analysis reads the log once, in order: how far it is.
CREATE TABLE audit.analysis_position (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  next_index bigint NOT NULL CHECK (next_index >= 0),
  -- The newest time of an event that was counted.
  newest_ms bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON audit.analysis_position TO :"runtime_role";
-- What somebody did on a day of China Standard Time. Bounded in size; kept for three quarters before the current one.
CREATE TABLE audit.actor_day (
  actor text NOT NULL,
  day integer NOT NULL,
  activity jsonb NOT NULL,
  PRIMARY KEY (actor, day)
);
CREATE INDEX actor_day_expiry ON audit.actor_day (day);
GRANT SELECT, INSERT, UPDATE, DELETE ON audit.actor_day TO :"runtime_role";
CREATE TABLE audit.day_count (
  day integer NOT NULL,
  class text NOT NULL,
  method text NOT NULL,
  outcome text NOT NULL,
  count bigint NOT NULL CHECK (count > 0),
  PRIMARY KEY (day, class, method, outcome)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON audit.day_count TO :"runtime_role";

CREATE TABLE audit.analysis_report (
  quarter text PRIMARY KEY CHECK (quarter ~ '^[0-9]{4}-Q[1-4]$'),
  created_at_ms bigint NOT NULL,
  created_by text NOT NULL,
  thresholds_version integer NOT NULL,
  findings integer NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  document bytea NOT NULL
);
CREATE TABLE audit.statistics (
  day integer PRIMARY KEY,
  published_at_ms bigint NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  document bytea NOT NULL
);

CREATE TABLE audit.assessment (
  assessment_id uuid PRIMARY KEY,
  kind text NOT NULL,
  date_ms bigint NOT NULL,
  recorded_at_ms bigint NOT NULL,
  recorded_by text NOT NULL,
  passed boolean NOT NULL,
  high_findings integer NOT NULL,
  medium_findings integer NOT NULL,
  low_findings integer NOT NULL,
  document_sha256 bytea NOT NULL CHECK (length(document_sha256) = 32)
);
CREATE INDEX assessment_kind ON audit.assessment (kind, date_ms);
CREATE TABLE audit.assessment_remediation (
  assessment_id uuid PRIMARY KEY REFERENCES audit.assessment,
  recorded_at_ms bigint NOT NULL,
  recorded_by text NOT NULL,
  document_sha256 bytea NOT NULL CHECK (length(document_sha256) = 32)
);

CREATE TABLE audit.assistance_case (
  case_id uuid PRIMARY KEY,
  opened_at_ms bigint NOT NULL,
  opened_by text NOT NULL,
  authority text NOT NULL,
  document_number text NOT NULL,
  document_sha256 bytea NOT NULL CHECK (length(document_sha256) = 32),
  wrapped bytea NOT NULL,
  document_sealed bytea NOT NULL,
  account_id text NOT NULL CHECK (length(account_id) BETWEEN 1 AND 64),
  scopes text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 2
    AND scopes <@ ARRAY['IDENTITY_BEHIND_NUMBER', 'AUTHENTICATION_LOG']),
  period_start_ms bigint,
  period_end_ms bigint,
  CHECK (NOT 'AUTHENTICATION_LOG' = ANY (scopes) OR period_start_ms < period_end_ms)
);
CREATE TABLE audit.case_decision (
  case_id uuid PRIMARY KEY REFERENCES audit.assistance_case,
  decided_at_ms bigint NOT NULL,
  decided_by text NOT NULL,
  approved boolean NOT NULL
);
CREATE TABLE audit.case_release (
  release_id uuid PRIMARY KEY,
  case_id uuid NOT NULL REFERENCES audit.assistance_case,
  released_at_ms bigint NOT NULL,
  released_by text NOT NULL,
  entries integer NOT NULL,
  digest bytea NOT NULL CHECK (length(digest) = 32)
);
-- Whoever opened a case cannot decide it, whatever program tries.
CREATE FUNCTION audit.refuse_own_case() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM audit.assistance_case c WHERE c.case_id = NEW.case_id AND c.opened_by = NEW.decided_by) THEN
    RAISE EXCEPTION 'a case is decided by a second person' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER refuse_own_case BEFORE INSERT ON audit.case_decision
  FOR EACH ROW EXECUTE FUNCTION audit.refuse_own_case();

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.bulk_read
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.bulk_read_approval
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.incident
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.incident_escalation
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.incident_evidence
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.incident_report
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.incident_receipt
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.analysis_report
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.statistics
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.assessment
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.assessment_remediation
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.assistance_case
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.case_decision
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.case_release
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
GRANT SELECT, INSERT ON audit.bulk_read, audit.bulk_read_approval, audit.incident, audit.incident_escalation,
  audit.incident_evidence, audit.incident_report, audit.incident_receipt, audit.analysis_report, audit.statistics,
  audit.assessment, audit.assessment_remediation, audit.assistance_case, audit.case_decision, audit.case_release
  TO :"runtime_role";
