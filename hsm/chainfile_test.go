package hsm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"sallyport/hsm"
)

// issued is a certificate with the key that issues others.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (i issued) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
}

// issue makes a certificate by an issuer, or its own where that is nil.
func issue(t testing.TB, name string, by *issued) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issued{issueFor(t, name, key.Public(), key, by), key}
}

// issueFor makes a certificate for a public key, by an issuer, or by key where
// that is nil.
func issueFor(t testing.TB, name string, public crypto.PublicKey, key *ecdsa.PrivateKey, by *issued) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// chainOfThree returns a leaf, its issuer, and the issuer of that.
func chainOfThree(t testing.TB) (leaf, intermediate, root issued) {
	root = issue(t, "root", nil)
	intermediate = issue(t, "intermediate", &root)
	return issue(t, "leaf", &intermediate), intermediate, root
}

func readChainOf(t *testing.T, text string) (hsm.Chain, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return hsm.ReadChain(path)
}

// Whatever is left out of a chain in silence is found out by clients alone.
func TestReadChain_RefusesWhatIsDamagedByItsLine(t *testing.T) {
	leaf, intermediate, _ := chainOfThree(t)
	one, two := leaf.pem(), intermediate.pem()
	second := strings.Count(one, "\n") + 1 // the line in which it begins
	pkcs8, err := x509.MarshalPKCS8PrivateKey(leaf.key)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	lines := strings.SplitAfter(two, "\n")
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	for name, c := range map[string]struct {
		text string
		line int // 0: the file as a whole
		want string
		hint string
	}{
		"a byte order mark before the second":   {one + "\uFEFF" + two, second, "byte order mark", "remove it"},
		"no line end between two files":         {strings.TrimSuffix(one, "\n") + two, second - 1, "joined without a line end", "begin a new line"},
		"a dash lost at the begin":              {one + two[1:], second, "looks like it", "five dashes"},
		"a dash lost behind the begin":          {one + strings.Replace(two, begin, begin[:len(begin)-1], 1), second, "looks like it", "five dashes"},
		"a dash too many":                       {one + "-" + two, second, "looks like it", "five dashes"},
		"dashes of a word processor":            {one + strings.Replace(two, begin, "—BEGIN CERTIFICATE—", 1), second, "looks like it", "five dashes"},
		"all dashes lost":                       {one + strings.Replace(two, begin, "BEGIN CERTIFICATE", 1), second + 1, "none has begun", "BEGIN CERTIFICATE"},
		"a begin in lower case":                 {one + strings.Replace(two, begin, strings.ToLower(begin), 1), second + 1, "none has begun", "BEGIN CERTIFICATE"},
		"a blank lost in the begin":             {one + strings.Replace(two, "BEGIN ", "BEGIN", 1), second, "looks like it", "five dashes"},
		"another word in the begin":             {one + strings.Replace(two, "BEGIN CERTIFICATE", "BEGIN CERTFICATE", 1), second, `a "CERTFICATE" block`, "remove"},
		"something behind the begin":            {one + strings.Replace(two, begin, begin+" x", 1), second, "looks like it", "nothing else"},
		"no begin":                              {one + strings.Join(lines[1:], ""), second, "none has begun", "BEGIN CERTIFICATE"},
		"an end alone":                          {one + end + "\n", second, "has not begun", "BEGIN CERTIFICATE"},
		"a dash lost at the end":                {one + strings.Replace(two, end, end[1:], 1), second + len(lines) - 2, "not the last line", "five dashes"},
		"an end that is not on its own line":    {one + strings.Replace(two, "\n"+end, end, 1), second + len(lines) - 3, "not the last line", "five dashes"},
		"no end":                                {one + strings.Replace(two, end, "", 1), second, "has no end", "cut off"},
		"a trailing half":                       {one + two[:len(two)/2], second, "has no end", "cut off"},
		"no end before the next":                {strings.Replace(one, end+"\n", "", 1) + two, 1, "no end before the next", "last line is missing"},
		"a line lost":                           {one + strings.Join(lines[:3], "") + strings.Join(lines[4:], ""), second, "certificate 2 cannot be read", "openssl"},
		"a letter lost":                         {one + strings.Join(lines[:3], "") + lines[3][1:] + strings.Join(lines[4:], ""), second, "not base64", "damaged"},
		"garbage within":                        {one + strings.Join(lines[:3], "") + "\x01\x02 garbage\n" + strings.Join(lines[3:], ""), second + 3, "it is not base64", "damaged"},
		"a field within":                        {one + lines[0] + "Proc-Type: 4,ENCRYPTED\n" + strings.Join(lines[1:], ""), second + 1, "not the last line", ""},
		"escaped line ends":                     {one + strings.ReplaceAll(two, "\n", `\n`), second, "looks like it", `\n`},
		"a private key":                         {one + private, second, "holds a private key", "lives in the token"},
		"a private key that has lost a dash":    {one + private[1:], second, "holds a private key", "lives in the token"},
		"a private key joined to a certificate": {strings.TrimSuffix(one, "\n") + private, second - 1, "joined without a line end", "new line"},
		"a trusted certificate":                 {strings.ReplaceAll(one, " CERT", " TRUSTED CERT"), 1, `a "TRUSTED CERTIFICATE" block`, "openssl x509"},
		"a PKCS #7 file":                        {strings.ReplaceAll(one, "CERTIFICATE", "PKCS7"), 1, `a "PKCS7" block`, "print_certs"},
		"a request":                             {strings.ReplaceAll(one, "CERTIFICATE", "CERTIFICATE REQUEST"), 1, `a "CERTIFICATE REQUEST" block`, "the authority sends"},
		"zero bytes":                            {one + "\x00\x00", second, "zero byte", "UTF-8"},
		"UTF-16":                                {utf16LE(one + two), 0, "is in UTF-16", "UTF-8"},
		"UTF-16 without a mark":                 {utf16LE(one + two)[2:], 1, "zero byte", "UTF-16"},
		"DER":                                   {string(leaf.cert.Raw), 0, "is in DER", "-inform der"},
		"nothing":                               {" \n", 0, "is empty", "certificate"},
		"no certificate":                        {"hello\n", 0, "holds no PEM certificate", "BEGIN"},
	} {
		t.Run(name, func(t *testing.T) {
			for system, lineEnd := range map[string]string{"as is": "\n", "CRLF": "\r\n", "CR": "\r"} {
				text := c.text
				if c.line > 0 && !strings.Contains(text, "\x00") {
					text = strings.ReplaceAll(text, "\n", lineEnd)
				}
				_, err := readChainOf(t, text)
				var e *hsm.Error
				if !errors.As(err, &e) || !errors.Is(err, hsm.ErrUnfit) {
					t.Fatalf("%s: got %v", system, err)
				}
				want := "chain.pem"
				if c.line > 0 {
					want = fmt.Sprintf("chain.pem, line %d: ", c.line)
				}
				if !strings.Contains(e.Text, want) || !strings.Contains(e.Text, c.want) || !strings.Contains(e.Hint, c.hint) {
					t.Errorf("%s: got %q with the hint %q, want %q and %q with the hint %q", system, e.Text, e.Hint, want, c.want, c.hint)
				}
			}
		})
	}
}

func utf16LE(s string) string {
	b := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

// What cannot be mistaken for a part of a certificate may stand between them
// (RFC 7468 §2), and lines may end as on any system.
func TestReadChain_TakesExplanatoryText(t *testing.T) {
	leaf, intermediate, root := chainOfThree(t)
	one, two, three := leaf.pem(), intermediate.pem(), root.pem()
	explained := func(text string) string { return text + one + text + two + text + three + text }
	for name, text := range map[string]string{
		"nothing else":             one + two + three,
		"CRLF":                     strings.ReplaceAll(one+two+three, "\n", "\r\n"),
		"CR":                       strings.ReplaceAll(one+two+three, "\n", "\r"),
		"no last line end":         strings.TrimSpace(one + two + three),
		"a byte order mark":        "\uFEFF" + one + two + three,
		"empty lines":              explained("\n\n"),
		"empty lines within":       strings.ReplaceAll(one+two+three, "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n\n"),
		"blanks around lines":      "  " + strings.ReplaceAll(strings.TrimSpace(one+two+three), "\n", " \t\n  "),
		"as Mozilla's bundle":      explained("\n# Issuer: CN=root\n# SHA256 Fingerprint: 12:34\nGlobal Root\n===========\n"),
		"as openssl pkcs12":        explained("Bag Attributes\n    localKeyID: 01 02 \n    friendlyName: www\nKey Attributes: <No Attributes>\nsubject=O = Vendor, CN = VENDOR KEY\n"),
		"as openssl s_client":      explained(" 0 s:CN = leaf\n   i:CN = root\n   a:PKEY: id-ecPublicKey, 256 (bit); sigalg: RSA-SHA256\n---\nServer certificate\n"),
		"lines":                    explained("--------------------------------------------------------------------\n--- begin of the intermediate ---\n"),
		"a fingerprint":            explained(strings.Repeat("0123456789abcdef", 4) + "\n"),
		"one that was put out":     explained("# " + strings.ReplaceAll(strings.TrimSpace(two), "\n", "\n# ") + "\n"),
		"as openssl x509 -text":    opensslText(t, leaf) + opensslText(t, intermediate) + opensslText(t, root),
		"a body in a single line":  singleLine(leaf) + singleLine(intermediate) + singleLine(root),
		"an end of file of MS-DOS": one + two + three + "\x1a",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := readChainOf(t, text)
			if err != nil || len(c) != 3 {
				t.Errorf("%d certificates, %v, of\n%s", len(c), err, text)
			}
		})
	}
}

func singleLine(i issued) string {
	lines := strings.Split(strings.TrimSpace(i.pem()), "\n")
	return lines[0] + "\n" + strings.Join(lines[1:len(lines)-1], "") + "\n" + lines[len(lines)-1] + "\n"
}

func opensslText(t *testing.T, i issued) string {
	t.Helper()
	cmd := exec.Command("openssl", "x509", "-text")
	cmd.Stdin = strings.NewReader(i.pem())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What is read is what any other parser finds, and never less.
func FuzzReadChain(f *testing.F) {
	leaf, intermediate, root := chainOfThree(f)
	whole := leaf.pem() + intermediate.pem() + root.pem()
	for at := 0; at < len(whole); at += 97 {
		f.Add(whole[:at] + whole[at+1:])
		f.Add(whole[:at] + "\uFEFF" + whole[at:])
		f.Add(whole[:at] + "\n# x\n" + whole[at:])
	}
	path := filepath.Join(f.TempDir(), "chain.pem")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := hsm.ReadChain(path)
		if err != nil {
			return
		}
		rest, read := []byte(text), slices.Clone(c)
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				return
			}
			at := slices.IndexFunc(read, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, block.Bytes) })
			if at < 0 {
				t.Fatalf("encoding/pem finds a block that was passed over, in\n%s", text)
			}
			read = read[at+1:]
		}
	})
}
