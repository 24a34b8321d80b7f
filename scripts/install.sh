# Sourced by the other scripts: makes sure that commands are there, by
# installing Debian's packages where that is possible.
#
#   need COMMAND=PACKAGE ...     a PACKAGE for each COMMAND that is not on PATH
#   need /a/file=PACKAGE ...     a PACKAGE for each file that does not exist

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
	# An old package list is refreshed only if it does not do: that is the slow part.
	if ! $as env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages >/dev/null 2>&1; then
		$as apt-get update -q >/dev/null &&
			$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages >/dev/null || {
			echo "error: apt-get could not install$packages" >&2
			return 1
		}
	fi
}

# need_go: Go itself is not installed by these scripts, since Debian's is too old.
need_go() {
	command -v go >/dev/null 2>&1 || PATH=$PATH:/usr/local/go/bin
	command -v go >/dev/null 2>&1 && return 0
	echo "error: missing: go" >&2
	echo "hint: install Go 1.26 or newer (https://go.dev/doc/install) and put it on PATH" >&2
	return 1
}
