-- The wrapped data keys are in a database of their own (migrations-keys). The service moves what this table still holds,
-- each key stored there before it is deleted here; a later release drops the table.

-- Empties the file of a table that has no rows any more: deleted keys stay legible in it, and in backups of the files.
-- Tells whether there was anything to empty.
CREATE FUNCTION audit.clear_moved_keys() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
  IF pg_relation_size('audit.subject_key') = 0 THEN
    RETURN false;
  END IF;
  LOCK TABLE audit.subject_key IN ACCESS EXCLUSIVE MODE;
  IF EXISTS (SELECT FROM audit.subject_key) THEN
    RETURN false;
  END IF;
  TRUNCATE audit.subject_key;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION audit.clear_moved_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.clear_moved_keys TO :"runtime_role";
