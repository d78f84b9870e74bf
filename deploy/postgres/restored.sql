-- After a backup was restored, and before servers and workers start: indexes and other followers of the lost state
-- begin anew. Run it as imagefinder_owner.
--
--   psql --file restored.sql                       after pg_basebackup
--   psql --set logical=1 --file restored.sql       after pg_restore: transactions have other numbers here
BEGIN;
UPDATE imagefinder.collections SET history = gen_random_uuid();
-- Indexes of the lost state know features by keys: none of those is given to another image.
SELECT setval('imagefinder.keys', (1 + floor(random() * 1000000000))::bigint * 4294967296);
TRUNCATE imagefinder.vector_watermarks;
\if :{?logical}
TRUNCATE imagefinder.gone;
UPDATE imagefinder.methods SET forgotten = '0';
UPDATE imagefinder.features SET txid = pg_current_xact_id();
SELECT format('UPDATE imagefinder.%I SET txid = pg_current_xact_id()', tablename)
FROM pg_tables WHERE schemaname = 'imagefinder' AND tablename ~ '^vectors_[0-9]+$' \gexec
\endif
COMMIT;
