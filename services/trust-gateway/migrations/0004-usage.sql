-- The ledger of calls to sources (SZ-21, NI-29): what became of each check, for whoever pays.
--
--   OPEN ──▶ ANSWERED    the source answered and bills it
--     ├────▶ SHARED      it needed no call: an identical one was under way, or a fresh word at hand
--     ├────▶ NOT_BILLED  never sent, or the source did not take it
--     └────▶ UNKNOWN ──▶ ANSWERED │ NOT_BILLED, once the source has told by its biz_seq
--
-- UNTRACKED are those from before there was a ledger.
ALTER TABLE trust.source_check
  ADD COLUMN call_state text NOT NULL DEFAULT 'UNTRACKED'
    CHECK (call_state IN ('OPEN', 'ANSWERED', 'SHARED', 'NOT_BILLED', 'UNKNOWN', 'UNTRACKED')),
  -- How many checks the source bills for it: one, or more where it was asked about other spellings of a name too.
  ADD COLUMN billed integer NOT NULL DEFAULT 0 CHECK (billed >= 0),
  -- Whether there is nothing more of it to be counted in trust.usage_day.
  ADD COLUMN counted boolean NOT NULL DEFAULT true,
  -- When the source is to be asked what became of it.
  ADD COLUMN look_at_ms bigint,
  ADD COLUMN looks integer NOT NULL DEFAULT 0,
  ADD CONSTRAINT source_check_billed CHECK ((call_state = 'ANSWERED') = (billed > 0)),
  ADD CONSTRAINT source_check_look CHECK (look_at_ms IS NULL OR call_state = 'UNKNOWN');
ALTER TABLE trust.source_check ALTER COLUMN call_state SET DEFAULT 'OPEN', ALTER COLUMN counted SET DEFAULT false;
ALTER TABLE trust.source_check SET (fillfactor = 80);
CREATE INDEX source_check_uncounted ON trust.source_check (asked_at_ms) WHERE NOT counted;
CREATE INDEX source_check_look ON trust.source_check (look_at_ms) WHERE look_at_ms IS NOT NULL;
GRANT UPDATE ON trust.source_check TO :"runtime_role";

-- An end is written once: no retry, no second process and no mistake turns a bill into none, or back.
CREATE FUNCTION trust.refuse_second_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the end of a call is written once' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER source_check_end BEFORE UPDATE ON trust.source_check FOR EACH ROW
  WHEN ((OLD.call_state NOT IN ('OPEN', 'UNKNOWN')
      AND (NEW.call_state, NEW.billed) IS DISTINCT FROM (OLD.call_state, OLD.billed))
    OR (OLD.call_state = 'UNKNOWN' AND NEW.call_state IN ('OPEN', 'SHARED'))
    OR (OLD.counted AND NOT NEW.counted))
  EXECUTE FUNCTION trust.refuse_second_end();

-- What a source's answer costs from when on. A call costs what its day says, whatever became dearer since.
CREATE TABLE trust.source_price (
  source_id text NOT NULL,
  since_ms bigint NOT NULL,
  price_fen integer NOT NULL CHECK (price_fen >= 0),
  PRIMARY KEY (source_id, since_ms)
);
GRANT SELECT, INSERT ON trust.source_price TO :"runtime_role";

-- Counted calls by day (UTC). The registry's own questions have an empty application.
CREATE TABLE trust.usage_day (
  day date NOT NULL,
  application_id text NOT NULL,
  source_id text NOT NULL,
  purpose text NOT NULL,
  answered bigint NOT NULL,
  shared bigint NOT NULL,
  cost_fen bigint NOT NULL,
  PRIMARY KEY (application_id, day, source_id, purpose)
) WITH (fillfactor = 70);
CREATE INDEX usage_day_source ON trust.usage_day (source_id, day, application_id, purpose);
CREATE INDEX usage_day_expiry ON trust.usage_day (day);
GRANT SELECT, INSERT, UPDATE, DELETE ON trust.usage_day TO :"runtime_role";
