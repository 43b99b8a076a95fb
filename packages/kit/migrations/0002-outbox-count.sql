-- How many events a message holds, and how many were ever enqueued for the audit log: the sum of rows. A row is born in
-- the transaction that enqueues and is only ever added, so that counting holds nobody up; now and then they are folded
-- into one.
ALTER TABLE kit.outbox ADD COLUMN events integer NOT NULL DEFAULT 1 CHECK (events > 0);
CREATE TABLE kit.outbox_enqueued (
  n bigint NOT NULL CHECK (n > 0)
);
-- What waits from before will be sealed too.
INSERT INTO kit.outbox_enqueued SELECT count(*) FROM kit.outbox WHERE destination = 'audit' HAVING count(*) > 0;
GRANT SELECT, INSERT, DELETE ON kit.outbox_enqueued TO :"runtime_role";
