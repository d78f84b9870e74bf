#!/bin/sh
# Starts PostgreSQL in its container, as `primary` or `standby`. PostgreSQL wants its key for itself alone.
set -eu
install -d -o postgres -g postgres -m 0700 /run/postgresql-tls
install -o postgres -g postgres -m 0600 /run/secrets/postgres.key /run/postgresql-tls/postgres.key
case $1 in
primary) exec docker-entrypoint.sh postgres --config-file=/etc/imagefinder/postgresql.conf ;;
standby) exec gosu postgres /etc/imagefinder/standby.sh --config-file=/etc/imagefinder/postgresql.conf ;;
*) echo "start.sh: primary or standby, not $1" >&2 && exit 2 ;;
esac
