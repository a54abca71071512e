#!/usr/bin/env bash
# Installs the peers that `requirements.txt` and `package-lock.json` name into a folder: Python's
# interpreter is then `python/bin/python` in it, and Node's packages are `node/node_modules`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1

# A registry may fail for a moment.
patiently() {
    "$@" || { sleep 5 && "$@"; } || { sleep 20 && "$@"; }
}

python3 -m venv "$folder/python"
patiently "$folder/python/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir \
    --retries 5 --requirement "$here/requirements.txt"

mkdir -p "$folder/node"
cp "$here/package.json" "$here/package-lock.json" "$folder/node"
patiently npm ci --prefix "$folder/node" --cache "$folder/npm" --ignore-scripts --no-audit \
    --no-fund --fetch-retries 5 --loglevel error
