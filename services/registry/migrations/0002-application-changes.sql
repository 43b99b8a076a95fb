-- Changes of applications: each raises the revision, which callers see as the etag.
ALTER TABLE application ADD COLUMN revision integer NOT NULL DEFAULT 1;
