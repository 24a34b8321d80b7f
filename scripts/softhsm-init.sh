#!/usr/bin/env bash
# Makes a SoftHSM token to try Sallyport with:
#
#   scripts/softhsm-init.sh DIR
#
# The token is called "edge" and holds an RSA-2048 key pair "rsa" and a P-256
# key pair "ec", made inside it, and a certificate for each, issued by a small
# test CA. DIR then holds
#
#   softhsm2.conf  edge.pin       how to reach the token, and its PIN (only the owner reads it)
#   ca.pem  rsa.pem  ec.pem       the test CA and the two certificate chains
#
# The names in the certificates are ec.sallyport.test and rsa.sallyport.test,
# www.sallyport.test and *.www.sallyport.test, localhost and 127.0.0.1.
# A DIR that already holds a token is left as it is.
set -euo pipefail
cd_root=$(cd "$(dirname "$0")/.." && pwd)
. "$cd_root/scripts/install.sh"

[ $# -eq 1 ] || { echo "usage: scripts/softhsm-init.sh DIR" >&2; exit 2; }
need softhsm2-util=softhsm2 pkcs11-tool=opensc openssl=openssl
umask 077
mkdir -p "$1"
dir=$(cd "$1" && pwd)
if [ -e "$dir/softhsm2.conf" ]; then
	echo "$dir already holds a token; remove the folder to make a new one" >&2
	exit 0
fi

module=/usr/lib/softhsm/libsofthsm2.so
[ -e "$module" ] || module=$(ls /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/libsofthsm2.so 2>/dev/null | head -n 1)
pin=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
so_pin=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
days=365

# Built aside and moved in place as the last step, so that a run that breaks
# off leaves nothing that looks like a token.
rm -rf "$dir/tokens"
mkdir "$dir/tokens"
export SOFTHSM2_CONF="$dir/softhsm2.conf.new"
cat >"$SOFTHSM2_CONF" <<CONF
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
CONF
(umask 077 && printf '%s\n' "$pin" >"$dir/edge.pin")

softhsm2-util --init-token --free --label edge --pin "$pin" --so-pin "$so_pin" >/dev/null
p11() { pkcs11-tool --module "$module" --token-label edge --login --pin "env:SALLYPORT_INIT_PIN" "$@" 2>"$dir/tool.log" >&2 || { cat "$dir/tool.log" >&2; exit 1; }; }
export SALLYPORT_INIT_PIN="$pin"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" \
	-subj "/O=Sallyport test/CN=Sallyport test CA" -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null

# pair LABEL ID KEY-TYPE: a key pair in the token, and a certificate for it.
# The private key signs nothing here, so the CA takes the public key as it is.
pair() {
	p11 --keypairgen --key-type "$3" --label "$1" --id "$2" --usage-sign
	p11 --read-object --type pubkey --label "$1" --id "$2" --output-file "$dir/$1.pub.der"
	openssl pkey -pubin -inform DER -in "$dir/$1.pub.der" -out "$dir/$1.pub.pem"
	cat >"$dir/$1.cnf" <<CONF
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$1.sallyport.test, DNS:www.sallyport.test, DNS:*.www.sallyport.test, DNS:localhost, IP:127.0.0.1
CONF
	openssl x509 -new -force_pubkey "$dir/$1.pub.pem" -subj "/O=Sallyport test/CN=$1.sallyport.test" -days "$days" \
		-CA "$dir/ca.pem" -CAkey "$dir/ca.key" -extfile "$dir/$1.cnf" -out "$dir/$1.crt" 2>/dev/null
	openssl x509 -in "$dir/$1.crt" -outform DER -out "$dir/$1.der"
	p11 --write-object "$dir/$1.der" --type cert --label "$1" --id "$2"
	cat "$dir/$1.crt" >"$dir/$1.pem"
	rm -f "$dir/$1.pub.der" "$dir/$1.pub.pem" "$dir/$1.cnf" "$dir/$1.der" "$dir/$1.crt"
}
pair rsa 01 rsa:2048
pair ec 02 EC:prime256v1
rm -f "$dir/tool.log"
mv "$SOFTHSM2_CONF" "$dir/softhsm2.conf"
echo "token edge is in $dir (keys rsa and ec, PIN in edge.pin)" >&2
