-- Roles with the least rights that imagefinder needs. Run it once, as a superuser, in the database of the collections:
--
--   createdb imagefinder
--   psql --dbname imagefinder --set ON_ERROR_STOP=1 --file roles.sql
--
-- It can be run again. Passwords are set by passwords.sql, or by your own means.

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['imagefinder_owner', 'imagefinder_app', 'imagefinder_reader', 'replicator']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- Owns the tables; only `imagefinder migrate` uses it. Members may maintain partitions and indexes.
ALTER ROLE imagefinder_owner NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 4;
-- Servers and workers: they read and change rows, and make and delete tables of vectors, but no other tables.
ALTER ROLE imagefinder_app NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
-- People and dashboards.
ALTER ROLE imagefinder_reader NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10;
ALTER ROLE imagefinder_reader SET default_transaction_read_only = on;
-- The standby and pg_basebackup.
ALTER ROLE replicator REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 10;

SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO imagefinder_owner, imagefinder_app, imagefinder_reader', current_database()) \gexec
SELECT format('GRANT CREATE ON DATABASE %I TO imagefinder_owner', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE EXTENSION IF NOT EXISTS vector;
GRANT USAGE ON SCHEMA public TO imagefinder_owner, imagefinder_app, imagefinder_reader;

CREATE SCHEMA IF NOT EXISTS imagefinder AUTHORIZATION imagefinder_owner;
GRANT USAGE ON SCHEMA imagefinder TO imagefinder_app, imagefinder_reader;
GRANT CREATE ON SCHEMA imagefinder TO imagefinder_app;

-- Tables that exist, and those that the owner will create.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA imagefinder TO imagefinder_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA imagefinder TO imagefinder_app;
ALTER DEFAULT PRIVILEGES FOR ROLE imagefinder_owner IN SCHEMA imagefinder
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO imagefinder_app;
ALTER DEFAULT PRIVILEGES FOR ROLE imagefinder_owner IN SCHEMA imagefinder
    GRANT USAGE, SELECT ON SEQUENCES TO imagefinder_app;
-- Tables of vectors belong to the role that built the index; the owner dumps them.
ALTER DEFAULT PRIVILEGES FOR ROLE imagefinder_app IN SCHEMA imagefinder
    GRANT ALL ON TABLES TO imagefinder_owner;
-- The reader sees no keys: those tables are granted one by one.
ALTER DEFAULT PRIVILEGES FOR ROLE imagefinder_owner IN SCHEMA imagefinder
    REVOKE ALL ON TABLES FROM PUBLIC;
SELECT format('GRANT SELECT ON imagefinder.%I TO imagefinder_reader', tablename)
FROM pg_tables
WHERE schemaname = 'imagefinder' AND tablename IN ('collections', 'images', 'methods', 'counts', 'failures', 'removals', 'jobs') \gexec

-- The metrics of the standby's lag.
GRANT pg_read_all_stats TO imagefinder_app, imagefinder_reader;
