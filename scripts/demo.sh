#!/usr/bin/env bash
# Runs Sallyport on this machine, on a SoftHSM token and two sample backends:
#
#   scripts/demo.sh           until Ctrl-C, with the token in ./demo
#   scripts/demo.sh --check   makes requests itself, says what it saw, and exits
#
# It installs what it needs from Debian's packages and builds Sallyport.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

case "${1-}" in
"" | --check) ;;
*) echo "usage: scripts/demo.sh [--check]" >&2; exit 2 ;;
esac
need_go
need gcc=gcc /usr/include/stdlib.h=libc6-dev softhsm2-util=softhsm2 pkcs11-tool=opensc openssl=openssl curl=curl

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "building Sallyport" >&2
go build -o "$scratch/sallyport" ./cmd/sallyport
dir=demo
[ "${1-}" = --check ] && dir=$scratch/demo
scripts/softhsm-init.sh "$dir"
"$scratch/sallyport" demo --dir "$dir" "$@"
