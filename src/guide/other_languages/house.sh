#!/usr/bin/env bash
# KEY_ID=partner-1 SECRET=… ./house.sh METHOD URL [BODY]
set -euo pipefail
method=$1 url=$2 body=${3:-}

rest=${url#*://}
authority=${rest%%[/?]*}
target=${rest#"$authority"}
authority=$(printf %s "$authority" | tr '[:upper:]' '[:lower:]')
[[ $target == /* ]] || target=/$target
timestamp=$(date +%s)
nonce=$(openssl rand -hex 16)
# For a moment, other users of the machine can see the secret among the arguments of `openssl`.
mac=$(printf '%s\n' "$method" "$authority" "$target" "$KEY_ID" "$timestamp" "$nonce" |
    { cat && printf %s "$body"; } | openssl dgst -sha256 -hmac "$SECRET" -hex | sed 's/.*= *//')

send=(-X "$method")
[ -z "$body" ] || send+=(-H 'content-type: application/json' --data-binary "$body")
curl -sS --path-as-is "${send[@]}" \
    -H "x-key-id: $KEY_ID" -H "x-timestamp: $timestamp" -H "x-nonce: $nonce" \
    -H "x-signature: sha256=$mac" -w '\n%{http_code}\n' "$url"
