#!/usr/bin/env bash
# Compares Sallyport with nginx, HAProxy and Caddy on this machine:
#
#   scripts/bench.sh            all workloads, five rounds
#   scripts/bench.sh --quick    some of them, in three minutes
#   scripts/bench.sh --quick --baseline FILE
#                               the same beside a binary of Sallyport built earlier
#   scripts/bench.sh --help     the other options, and the workloads
#
# The report is bench-out/report.md, all figures are in bench-out/results.json.
# It installs what it needs from Debian's packages. Services that come with packages it
# installs are neither started nor enabled; those that were there are left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

PATH=$PATH:/usr/sbin:/sbin
need_go
need gcc=gcc cc=gcc /usr/include/stdlib.h=libc6-dev
need nginx=nginx "/usr/lib/$(gcc -dumpmachine)/engines-3/pkcs11.so=libengine-pkcs11-openssl" \
	haproxy=haproxy caddy=caddy wrk=wrk h2load=nghttp2-client softhsm2-util=softhsm2 openssl=openssl curl=curl taskset=util-linux

scratch=$(mktemp -d)
bench=
finish() {
	trap - EXIT INT TERM
	if [ -n "$bench" ]; then
		kill "$bench" 2>/dev/null || true
		wait "$bench" 2>/dev/null || true
	fi
	rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "building Sallyport" >&2
go build -buildvcs=false -o "$scratch/" ./cmd/sallyport ./scripts/bench
# Beside this shell, so that a signal that ends the shell ends it too.
PATH=$scratch:$PATH bench "$@" &
bench=$!
code=0
wait "$bench" || code=$?
bench=
exit "$code"
