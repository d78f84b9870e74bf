-- Sets the passwords from files, so that they appear in no command line. Run it as a superuser:
--
--   SECRETS=/run/secrets psql --dbname imagefinder --set ON_ERROR_STOP=1 --file passwords.sql
--
-- Each file contains one password.

SET password_encryption = 'scram-sha-256';
SET log_statement = 'none';
\set owner_password `cat "$SECRETS/owner_password"`
\set app_password `cat "$SECRETS/app_password"`
\set reader_password `cat "$SECRETS/reader_password"`
\set replicator_password `cat "$SECRETS/replicator_password"`
ALTER ROLE imagefinder_owner PASSWORD :'owner_password';
ALTER ROLE imagefinder_app PASSWORD :'app_password';
ALTER ROLE imagefinder_reader PASSWORD :'reader_password';
ALTER ROLE replicator PASSWORD :'replicator_password';
