#!/bin/sh
# Sends a signed webhook, for example as the post-job script of backup software. Needs openssl and curl.
#
#   CBR_SYNC_URL=https://… CBR_SYNC_SECRET_FILE=/etc/cbr-sync.secret sh send-signed.sh <vault id>
#
# The file holds the whsec_… secret, readable for its owner alone. "time" is when the job ended: what is sent again
# with the same time starts no second sync.
set -eu

vault_id=$1
secret=$(cat "$CBR_SYNC_SECRET_FILE")
id=job-$(openssl rand -hex 16)
timestamp=$(date +%s)
body="{\"vault_id\": \"$vault_id\", \"time\": \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"}"

# HMAC-SHA256 as RFC 2104 defines it. openssl takes a key as an argument only, and everybody who may list the
# processes could read it there; printf is a part of the shell.
key=$(printf %s "${secret#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')

# Print the key, filled up to 64 bytes with zeros, each byte XOR the argument.
print_key() {
    rest=$key
    count=0
    while [ "$count" -lt 64 ]; do
        byte=${rest%"${rest#??}"}
        rest=${rest#??}
        printf "\\$(printf %03o $((0x${byte:-0} ^ $1)))"
        count=$((count + 1))
    done
}

hash() {
    openssl dgst -sha256 -binary
}

signature=$({
    print_key 0x5c
    { print_key 0x36; printf %s "$id.$timestamp.$body"; } | hash
} | hash | openssl base64 -A)

printf %s "$body" | curl --silent --show-error --fail --max-time 35 --retry 4 \
    --header 'Content-Type: application/json' \
    --header "webhook-id: $id" \
    --header "webhook-timestamp: $timestamp" \
    --header "webhook-signature: v1,$signature" \
    --data-binary @- "$CBR_SYNC_URL"
