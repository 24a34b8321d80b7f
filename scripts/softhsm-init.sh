#!/usr/bin/env bash
# Makes a SoftHSM token to try Sallyport with:
#
#   scripts/softhsm-init.sh DIR
#
# The token is called "edge" and holds an RSA-2048 key pair "rsa" and a P-256
# key pair "ec", made inside it, and a certificate for each, issued by a small
# test CA, whose own certificate is in the token too. DIR then holds
#
#   softhsm2.conf  edge.pin       how to reach the token, and its PIN (only the owner reads it)
#   ca.pem  rsa.pem  ec.pem       the test CA and the two certificate chains
#
# The names in the certificates are ec.sallyport.test and rsa.sallyport.test,
# www.sallyport.test and *.www.sallyport.test, localhost and 127.0.0.1.
# A DIR that already holds a token is left as it is.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/install.sh"

case "$#:${1-}" in
1:-* | 1: | 0: | [2-9]*) echo "usage: scripts/softhsm-init.sh DIR" >&2; exit 2 ;;
1:*[#=]*) echo "error: SoftHSM cannot read a path with # or = in it: $1" >&2; exit 1 ;;
esac
need softhsm2-util=softhsm2 pkcs11-tool=opensc openssl=openssl
if [ -e "$1/softhsm2.conf" ]; then
	echo "$1 already holds a token; remove the folder to make a new one" >&2
	exit 0
fi
if [ -e "$1" ] && { [ ! -d "$1" ] || [ -n "$(ls -A "$1")" ]; }; then
	echo "error: $1 exists and is not an empty folder" >&2
	echo "hint: name a folder that does not exist yet" >&2
	exit 1
fi
module=
for file in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/libsofthsm2.so; do
	if [ -e "$file" ]; then module=$file; break; fi
done
[ -n "$module" ] || { echo "error: SoftHSM's library libsofthsm2.so was not found" >&2; exit 1; }

umask 077
mkdir -p "$1"
dir=$(cd "$1" && pwd)
# Made in a folder of its own and moved in as the last step, so that a run that
# breaks off leaves nothing that looks like a token.
new=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$new"' EXIT
mkdir "$new/tokens"
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$new/tokens" >"$new/softhsm2.conf"
export SOFTHSM2_CONF="$new/softhsm2.conf"
days=365

# A PIN on a command line can be seen by every user of the machine for as long
# as the command runs. softhsm2-util takes it no other way, so the token gets
# throw-away ones first, and the real PIN from the environment.
random() { od -An -N8 -tx1 /dev/urandom | tr -d ' \n'; }
first_pin=$(random)
SALLYPORT_INIT_PIN=$(random)
export SALLYPORT_INIT_PIN
printf '%s\n' "$SALLYPORT_INIT_PIN" >"$new/edge.pin"
quietly() { "$@" >"$new/tool.log" 2>&1 || { cat "$new/tool.log" >&2; exit 1; }; }
quietly softhsm2-util --init-token --free --label edge --pin "$first_pin" --so-pin "$(random)"
quietly pkcs11-tool --module "$module" --token-label edge --login --change-pin --pin "$first_pin" --new-pin env:SALLYPORT_INIT_PIN
p11() { quietly pkcs11-tool --module "$module" --token-label edge --login --pin env:SALLYPORT_INIT_PIN "$@"; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" \
	-subj "/O=Sallyport test/CN=Sallyport test CA" -keyout "$new/ca.key" -out "$new/ca.pem" 2>/dev/null

# pair LABEL ID KEY-TYPE: a key pair in the token, and a certificate for it.
# The private key signs nothing here, so the CA takes the public key as it is.
pair() {
	p11 --keypairgen --key-type "$3" --label "$1" --id "$2" --usage-sign
	p11 --read-object --type pubkey --label "$1" --id "$2" --output-file "$new/$1.pub.der"
	openssl pkey -pubin -inform DER -in "$new/$1.pub.der" -out "$new/$1.pub.pem"
	cat >"$new/$1.cnf" <<CONF
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$1.sallyport.test, DNS:www.sallyport.test, DNS:*.www.sallyport.test, DNS:localhost, IP:127.0.0.1
CONF
	openssl x509 -new -force_pubkey "$new/$1.pub.pem" -subj "/O=Sallyport test/CN=$1.sallyport.test" -days "$days" \
		-CA "$new/ca.pem" -CAkey "$new/ca.key" -extfile "$new/$1.cnf" -out "$new/$1.pem" 2>/dev/null
	openssl x509 -in "$new/$1.pem" -outform DER -out "$new/$1.der"
	p11 --write-object "$new/$1.der" --type cert --label "$1" --id "$2"
	rm -f "$new/$1.pub.der" "$new/$1.pub.pem" "$new/$1.cnf" "$new/$1.der"
}
pair rsa 01 rsa:2048
pair ec 02 EC:prime256v1
# The root tells that the chains, which lack it, lack nothing else.
openssl x509 -in "$new/ca.pem" -outform DER -out "$new/ca.der"
p11 --write-object "$new/ca.der" --type cert --label ca --id ca
rm -f "$new/ca.der"
rm -f "$new/tool.log"
mv "$new/tokens" "$new"/*.p* "$new/ca.key" "$dir/"
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$dir/tokens" >"$dir/softhsm2.conf"
echo "token edge is in $dir (keys rsa and ec, PIN in edge.pin)" >&2
