#!/bin/sh
# Creates the shared files of a cluster in the named directory: passwords, the shared secret, and the cluster's own
# certificate authority with one certificate for all nodes (it has their common name, cluster_name).
#
#   secrets.sh DIRECTORY [NAME]            NAME: cluster_name, `decisiongraph` unless given
#
# Guarantees: existing files are left alone, so running it again changes nothing. Only its owner can open the directory.
# As root, the secret and the nodes' key go to user 10001, the user of the image. (Two containers under two users read
# the passwords, so only the directory protects them.) The authority's key stays here: keep it off the nodes.
set -eu
directory=${1:?the directory to write to}
name=${2:-decisiongraph}
umask 077
mkdir -p "$directory"
cd "$directory"

random() { [ -e "$1" ] || head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >"$1"; }
random admin_password
random migrator_password
random node_password
random cluster_secret

if [ ! -e cluster_ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$name authority" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout cluster_ca_key.pem -out cluster_ca.pem 2>/dev/null
fi
if [ ! -e cluster_cert.pem ]; then
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout cluster_key.pem -out request.pem 2>/dev/null
    printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n' \
        "$name" >extensions
    openssl x509 -req -in request.pem -CA cluster_ca.pem -CAkey cluster_ca_key.pem -CAcreateserial -days 365 -extfile extensions \
        -out cluster_cert.pem 2>/dev/null
    rm -f request.pem extensions cluster_ca.srl
fi
chmod 444 admin_password migrator_password node_password cluster_ca.pem cluster_cert.pem
if [ "$(id -u)" = 0 ]; then
    chown 10001:10001 cluster_secret cluster_key.pem
fi
