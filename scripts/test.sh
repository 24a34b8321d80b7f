#!/usr/bin/env bash
# Everything that CI runs:
#
#   scripts/test.sh           format, vet, staticcheck, all tests with the race
#                             detector, each fuzzer for some thousand inputs, the
#                             demonstration, and a glance at the comparison with peers
#   FUZZ=10m SOAK=10m scripts/test.sh  the same, with each fuzzer and each soak for ten minutes
#
# What attackers spend and have the server spend, as a table; it takes some minutes:
#
#   ADVERSARY_REPORT=adversaries.md go test -run TestAdversaries ./cmd/sallyport
#
# More random exchanges than the 600 of each run, held against httputil.ReverseProxy:
#
#   ORACLE=20000 ORACLE_SEED=2 go test -run TestOracle ./proxy
#
# It installs what it needs from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

need_go
need gcc=gcc cc=gcc /usr/include/stdlib.h=libc6-dev softhsm2-util=softhsm2 pkcs11-tool=opensc openssl=openssl curl=curl \
	p11-kit=p11-kit "/usr/lib/$(uname -m)-linux-gnu/p11-kit-proxy.so=p11-kit-modules" certutil=libnss3-tools
step() { printf '\n== %s\n' "$*" >&2; }

step format
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "gofmt these: $unformatted" >&2; exit 1; }
for script in scripts/*.sh .ci/run; do bash -n "$script"; done

step vet
go vet ./...

step staticcheck
go tool staticcheck ./...

step modules
go mod verify >/dev/null
go mod tidy -diff

step fuzz
# Each fuzzer on its own: go test takes one at a time. Inputs are counted rather
# than time, since a fuzzer that is stopped by the clock sometimes reports the
# stop itself as a failure (golang.org/issue/75804).
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r package; do
	grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$package"/*_test.go | sed 's/^func //' | while read -r fuzzer; do
		go test -run '^$' -fuzz "^$fuzzer\$" -fuzztime "${FUZZ:-20000x}" -fuzzminimizetime 20x "$package"
	done
done

step demonstration
scripts/demo.sh --check

step comparison
# That it works; its figures from here say nothing.
glance=$(mktemp -d)
trap 'rm -rf "$glance"' EXIT
scripts/bench.sh --quick --rounds 1 --servers sallyport,nginx --only get-64,slow-handshake --out "$glance"

step allocations
# Without the race detector, under which pools forget on purpose.
go test -run 'Alloc' ./pool ./proxy/...

step test
go test -race -shuffle=on -timeout 30m ./...

step vendors
# The tests above run on SoftHSM, but for some that are about others. What may
# depend on the vendor runs once more on each other one. Left out are the tests of
# the faulty module, which are about what happens around the token, and the stories
# about HTTP and the configuration.
for vendor in nss p11-kit; do
	export HSMTEST_VENDOR=$vendor
	go test -race -shuffle=on -timeout 10m -run 'Token|Key|Certificates|Chain' ./hsm
	go test -race -shuffle=on -timeout 10m ./cmd/sallyport \
		-run 'TestStories$/^(admin|bad-token|check|csr|rotation|separation|signer-killed|token-faults|token-list)$'
done
