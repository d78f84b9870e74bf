#!/bin/sh
# Runs once, when the data of the primary are made: roles, their passwords, and the standby that commits wait for.
# Environment: SECRETS (/run/secrets), CONFIGURATION (/etc/imagefinder), and that of libpq.
set -eu
SECRETS=${SECRETS:-/run/secrets}
export SECRETS
for script in roles.sql passwords.sql; do
    psql --dbname imagefinder --set ON_ERROR_STOP=1 --quiet --file "${CONFIGURATION:-/etc/imagefinder}/$script"
done
psql --dbname imagefinder --quiet --command "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'"
