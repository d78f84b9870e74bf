#!/bin/sh
# Makes the folder of secrets that compose.cluster.yaml mounts: passwords, and certificates of a private authority.
#
#   deploy/secrets.sh FOLDER [NAME_OF_THE_SERVICE]
#
# Existing files stay as they are. The folder belongs into no repository and no image.
set -eu
umask 077
folder=${1:?usage: secrets.sh FOLDER [NAME_OF_THE_SERVICE]}
service=${2:-localhost}
mkdir -p "$folder"
cd "$folder"

for name in postgres_password owner_password app_password reader_password replicator_password; do
    [ -s "$name" ] || openssl rand -hex 24 >"$name"
done
if [ ! -s s3_credentials ]; then
    access=$(openssl rand -hex 10)
    secret=$(openssl rand -hex 20)
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$access" "$secret" >s3_credentials
    printf '{"identities": [{"name": "imagefinder", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List"]}]}\n' \
        "$access" "$secret" >s3_identities.json
fi

if [ ! -s ca.crt ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=imagefinder authority" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout ca.key -out ca.crt 2>/dev/null
fi
certify() {
    file=$1
    shift
    [ -s "$file.crt" ] && return
    names=$(printf ',DNS:%s' "$@")
    printf 'subjectAltName = %s\nextendedKeyUsage = serverAuth\n' "${names#,},IP:127.0.0.1" >"$file.ext"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$file.key" -out "$file.csr" 2>/dev/null
    openssl x509 -req -in "$file.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile "$file.ext" -out "$file.crt" 2>/dev/null
    rm "$file.csr" "$file.ext"
}
certify postgres postgres postgres-standby localhost
certify objects objects localhost
certify service "$service" balancer
# Containers read them as their own users; what protects them on this machine is the folder.
chmod 0700 .
find . -type f ! -name 'ca.key' -exec chmod 0644 {} +
echo "made $PWD: passwords, ca.crt, and certificates of postgres, objects and service"
