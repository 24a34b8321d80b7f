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

case "$#:${1-}" in
0: | 1:--check) ;;
*) echo "usage: scripts/demo.sh [--check]" >&2; exit 2 ;;
esac
need_go
need gcc=gcc /usr/include/stdlib.h=libc6-dev softhsm2-util=softhsm2 pkcs11-tool=opensc openssl=openssl curl=curl

scratch=$(mktemp -d)
demo=
finish() {
	trap - EXIT INT TERM
	if [ -n "$demo" ]; then
		kill "$demo" 2>/dev/null || true
		wait "$demo" 2>/dev/null || true
	fi
	rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "building Sallyport" >&2
go build -buildvcs=false -o "$scratch/sallyport" ./cmd/sallyport
dir=demo
[ "${1-}" = --check ] && dir=$scratch/demo
scripts/softhsm-init.sh "$dir"
# Beside this shell, so that a signal that ends the shell ends it too.
"$scratch/sallyport" demo --dir "$dir" "$@" &
demo=$!
code=0
wait "$demo" || code=$?
demo=
exit "$code"
