#!/bin/sh
# Makes a standby of the primary on the first start, and runs it with the given options.
# Environment: PGDATA; PRIMARY, the host of the primary (postgres); PRIMARY_PORT (5432); SECRETS (/run/secrets).
set -eu
secrets=${SECRETS:-/run/secrets}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # The password goes through the environment into primary_conninfo, which only the server's user can read.
    PGPASSWORD=$(cat "$secrets/replicator_password")
    export PGPASSWORD
    primary="host=${PRIMARY:-postgres} port=${PRIMARY_PORT:-5432} user=replicator application_name=standby"
    until pg_basebackup --pgdata="$PGDATA" --write-recovery-conf --wal-method=stream --checkpoint=fast \
        --dbname="$primary sslmode=verify-full sslrootcert=$secrets/ca.crt"; do
        sleep 2 # the primary is being made
        rm -rf "${PGDATA:?}"/*
    done
    unset PGPASSWORD
    chmod 0700 "$PGDATA"
fi
exec postgres "$@"
