# Sourced by the other scripts: makes sure that commands are there, by
# installing Debian's packages where that is possible.
#
#   need COMMAND=PACKAGE ...     a PACKAGE for each COMMAND that is not on PATH
#   need /a/file=PACKAGE ...     a PACKAGE for each file that does not exist
#   need_go                      a Go that is new enough

need() {
	local pair what package missing="" packages=""
	for pair in "$@"; do
		what=${pair%%=*} package=${pair#*=}
		case $what in
		/*) [ -e "$what" ] && continue ;;
		*) command -v "$what" >/dev/null 2>&1 && continue ;;
		esac
		missing="$missing ${what##*/}"
		case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
	done
	[ -z "$missing" ] && return 0

	local as=""
	if [ "$(id -u)" -ne 0 ]; then
		if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as="sudo -n"; else as="none"; fi
	fi
	if [ "$as" = none ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "error: missing:$missing" >&2
		echo "hint: install these and try again: apt-get install$packages" >&2
		return 1
	fi
	echo "installing$packages" >&2
	( # for its trap
		output=""
		before=$(installed)
		hold_services
		trap release_services EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM
		# An old package list is refreshed only if it does not do: that is the slow part.
		if ! apt_get install -y --no-install-recommends $packages; then
			apt_get update && apt_get install -y --no-install-recommends $packages || {
				printf '%s\n' "$output" | tail -n 20 >&2
				echo "error: apt-get could not install$packages" >&2
				exit 1
			}
		fi
		disable_services "$(comm -13 <(echo "$before") <(installed))"
	)
}

# apt_get runs it, and leaves what it says in output. It waits, ten minutes at most, for
# another one that holds a lock.
apt_get() {
	local deadline=$((SECONDS + 600)) said=""
	while :; do
		output=$($as env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q "$@" 2>&1 </dev/null) && return 0
		case $output in
		*"Could not get lock"* | *"Unable to lock"* | *"Unable to acquire the dpkg frontend lock"*) ;;
		*) break ;;
		esac
		[ "$SECONDS" -lt "$deadline" ] || break
		[ -n "$said" ] || echo "waiting for another apt or dpkg to finish" >&2
		said=yes
		sleep "${APT_PAUSE:-2}"
	done
	return 1
}

# installed lists the packages that are, sorted.
installed() { dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p' | LC_ALL=C sort -u; }

# Services that packages bring are not wanted: they are not started while packages are
# installed, and those of packages that were not there before are not enabled afterwards.
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
hold_services() {
	[ -e "$policy" ] && return 0
	printf '#!/bin/sh\n# For as long as %s installs packages; it can be deleted.\nexit 101\n' "$0" | $as tee "$policy" >/dev/null
	$as chmod 755 "$policy"
	held=yes
}
release_services() { [ -z "${held-}" ] || $as rm -f "$policy"; }

disable_services() {
	local package file
	for package in $1; do
		dpkg -L "$package" | while read -r file; do
			case $file in
			*/user/*) ;;
			*/systemd/system/*@.*) ;;
			*/systemd/system/*.service | */systemd/system/*.socket | */systemd/system/*.timer)
				if command -v systemctl >/dev/null 2>&1; then
					$as systemctl disable --now "${file##*/}" >/dev/null 2>&1 </dev/null || true # in a container there may be nothing to ask
				fi
				;;
			/etc/init.d/*)
				if command -v update-rc.d >/dev/null 2>&1; then
					$as update-rc.d "${file##*/}" disable >/dev/null 2>&1 </dev/null || true
				fi
				;;
			esac
		done
	done
}

# need_go puts a Go that is new enough first on PATH. Go itself is not installed by these
# scripts, since Debian's is too old.
need_go() {
	need_home
	local root needed go found="" version
	root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
	needed=$(sed -n 's/^go //p' "$root/go.mod")
	local -a all=()
	mapfile -t all < <(type -ap go)
	all+=(${GO_PLACES-/usr/local/go/bin/go "$HOME/sdk"/*/bin/go /usr/lib/go-*/bin/go})
	for go in "${all[@]}"; do
		[ -x "$go" ] || continue
		version=$(cd / && GOTOOLCHAIN=local "$go" version 2>/dev/null | go_version)
		if not_before "${version:-0}" "$needed"; then
			use_go "$go"
			return 0
		fi
		case $found in *"$go"*) ;; *) found="$found${found:+, }go${version:-?} ($go)" ;; esac
	done
	# Since 1.21 Go fetches the one that go.mod asks for, where it may.
	for go in "${all[@]}"; do
		[ -x "$go" ] || continue
		version=$(cd "$root" && "$go" version 2>/dev/null | go_version)
		if not_before "${version:-0}" "$needed"; then
			use_go "$go"
			return 0
		fi
	done
	if [ -n "$found" ]; then
		echo "error: Go is too old: found $found, and $needed is needed" >&2
	else
		echo "error: missing: go" >&2
	fi
	echo "hint: install Go $needed or newer (https://go.dev/doc/install) in /usr/local/go, or put it first on PATH" >&2
	return 1
}

go_version() { sed -nE 's/^go version (devel )?go([0-9.]*).*/\2/p'; }

use_go() {
	PATH=$(dirname "$1"):$PATH
	export PATH
	hash -r
}

# not_before reports whether version $1 is $2 or later.
not_before() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# need_home finds a home for who has none, as in some CI systems and services: Go and its
# tools keep what they build there.
need_home() {
	[ -n "${HOME-}" ] || HOME=$(getent passwd "$(id -u)" | cut -d: -f6) || true
	[ -w "${HOME:-/nonexistent}" ] || {
		HOME=$(mktemp -d)
		echo "there is no home folder that can be written to; Go builds in $HOME" >&2
	}
	export HOME
}
