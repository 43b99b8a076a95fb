-- Identities disclosed against assistance cases, and vendors' operators whose rights end with their engagement.
CREATE TABLE disclosure (
  -- One for each case, for ever.
  case_id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES account,
  disclosed_by uuid NOT NULL REFERENCES operator,
  disclosed_at timestamptz NOT NULL
);
CREATE TRIGGER disclosure_final BEFORE UPDATE OR DELETE ON disclosure FOR EACH ROW
  EXECUTE FUNCTION refuse_change();

ALTER TABLE operator ADD COLUMN engagement_end timestamptz,
  ADD CONSTRAINT operator_vendor_lapses CHECK (engagement_end IS NULL OR reviewed_until <= engagement_end);
ALTER TABLE operator_proposal ADD COLUMN engagement_end timestamptz;
