#!/bin/sh
# Creates the shared files of a cluster in the named directory: passwords, the shared secret, and the cluster's own
# certificate authority with two certificates for all nodes: one between nodes (it has their common name, cluster_name),
# one for HTTP (that name, and localhost for a trial).
#
#   secrets.sh DIRECTORY [NAME]            NAME: cluster_name, `decisiongraph` unless given
#
# Guarantees: existing files are left alone, so running it again changes nothing. Only its owner can open the directory.
# As root, the secret and the nodes' keys go to user 10001, the user of the image. (Two containers under two users read
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
# certificate FILE USES NAMES: a certificate of the authority for these names.
certificate() {
    [ ! -e "$1_cert.pem" ] || return 0
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$1_key.pem" -out request.pem 2>/dev/null
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n' \
        "$3" "$2" >extensions
    openssl x509 -req -in request.pem -CA cluster_ca.pem -CAkey cluster_ca_key.pem -CAcreateserial -days 365 -extfile extensions \
        -out "$1_cert.pem" 2>/dev/null
    rm -f request.pem extensions cluster_ca.srl
}
certificate cluster serverAuth,clientAuth "DNS:$name"
certificate http serverAuth "DNS:$name,DNS:localhost"
chmod 444 admin_password migrator_password node_password cluster_ca.pem cluster_cert.pem http_cert.pem
if [ "$(id -u)" = 0 ]; then
    chown 10001:10001 cluster_secret cluster_key.pem http_key.pem
fi
