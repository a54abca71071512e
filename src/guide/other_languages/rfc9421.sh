#!/usr/bin/env bash
# KEY_ID=partner-1 SECRET=… ./rfc9421.sh METHOD URL [BODY]
set -euo pipefail
method=$1 url=$2 body=${3:-}

rest=${url#*://}
authority=${rest%%[/?]*}
target=${rest#"$authority"}
authority=$(printf %s "$authority" | tr '[:upper:]' '[:lower:]')
path=${target%%\?*}
query=${target#"$path"}

names='"@method" "@authority" "@path" "@query"'
printf -v message '"@method": %s\n"@authority": %s\n"@path": %s\n"@query": %s\n' \
    "$method" "$authority" "${path:-/}" "${query:-?}"
send=(-X "$method")
if [ -n "$body" ]; then
    type=application/json
    digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | base64):"
    names+=' "content-type" "content-digest"'
    printf -v message '%s"content-type": %s\n"content-digest": %s\n' "$message" "$type" "$digest"
    send+=(-H "content-type: $type" -H "content-digest: $digest" --data-binary "$body")
fi
parameters="($names);created=$(date +%s);keyid=\"$KEY_ID\";nonce=\"$(openssl rand -hex 16)\""
# For a moment, other users of the machine can see the secret among the arguments of `openssl`.
mac=$(printf '%s"@signature-params": %s' "$message" "$parameters" |
    openssl dgst -sha256 -hmac "$SECRET" -binary | base64)

curl -sS --path-as-is "${send[@]}" \
    -H "signature-input: sig1=$parameters" -H "signature: sig1=:$mac:" \
    -w '\n%{http_code}\n' "$url"
