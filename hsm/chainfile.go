package hsm

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
)

// A chain file is text of which every line is accounted for: it belongs to a
// certificate's block, or is explanatory text that cannot be mistaken for a part
// of one (RFC 7468 §2), such as `openssl x509 -text` writes between blocks. A
// parser that looks for whole blocks alone passes over a damaged one, and the
// site would be served with a certificate too few, which its clients find out.

// chainFile is a file while it is read.
type chainFile struct {
	path  string
	certs Chain

	begun int // the line of the block that is open; 0: none
	body  strings.Builder
}

// errorAt is what is wrong with a line of the file.
func (f *chainFile) errorAt(line int, hint, format string, args ...any) error {
	return problem(ErrUnfit, hint, "%s, line %d: %s", f.path, line, fmt.Sprintf(format, args...))
}

const (
	certificateBegin = "-----BEGIN CERTIFICATE-----"
	certificateEnd   = "-----END CERTIFICATE-----"
)

const labels = "CERTIFICATE|KEY|PKCS|CMS|CRL|PARAMETERS"

var (
	// boundary is what begins or ends a block of any label.
	boundary = regexp.MustCompile(`^-----(BEGIN|END) ([^-]*)-----$`)
	// likeBoundary is what is left of one after a slip of a finger or of a tool:
	// with a dash at one side at least. One that has lost all dashes is found out
	// by the lines that follow it.
	likeBoundary = regexp.MustCompile(`-----(BEGIN|END)|[-–—] ?(BEGIN|END)[A-Z0-9 ]*(` + labels + `)|(^|[^A-Za-z])(BEGIN|END)[A-Z0-9 ]*(` + labels + `)[A-Z0-9 ]*[-–—]`)
	base64Only   = regexp.MustCompile(`^[A-Za-z0-9+/]+={0,2}$`)
	hexOnly      = regexp.MustCompile(`^[0-9A-Fa-f]+$`)
)

// likeBody is how long a line of base64 must be to be taken for a part of a
// block outside of any: writers make them 64 or 76 long, prose has blanks.
const likeBody = 60

// parseChain reads the text of a chain file.
func parseChain(path string, text []byte) (Chain, error) {
	f := &chainFile{path: path}
	if err := f.checkEncoding(text); err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte(byteOrderMark)) // of the file as a whole, which says nothing of a block
	// Lines end as they do on any system.
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n")
	for i, line := range lines {
		var err error
		if line = strings.Trim(line, " \t"); f.begun == 0 {
			err = f.outside(i+1, line)
		} else {
			err = f.inside(i+1, line)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case f.begun > 0:
		return nil, f.errorAt(f.begun, "the file was cut off, or not copied whole", "the certificate that begins here has no end")
	case len(bytes.TrimSpace(text)) == 0:
		return nil, problem(ErrUnfit, "write the site's certificate there, and behind it those that issued it", "%s is empty", path)
	case len(f.certs) == 0:
		return nil, problem(ErrUnfit, "a certificate begins with the line "+certificateBegin, "%s holds no PEM certificate", path)
	}
	return f.certs, nil
}

const byteOrderMark = "\uFEFF"

// checkEncoding refuses what is no text in which a block could be.
func (f *chainFile) checkEncoding(text []byte) error {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(text, []byte(mark)) {
			return problem(ErrUnfit, "save it as UTF-8 or ASCII", "%s is in UTF-16", f.path)
		}
	}
	if len(text) > 1 && text[0] == 0x30 && text[1] >= 0x80 { // a SEQUENCE with a long length
		return problem(ErrUnfit, "openssl x509 -inform der -in "+f.path+" converts a certificate, openssl pkcs7 -inform der -print_certs a .p7b",
			"%s is in DER, not in PEM", f.path)
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		line := 1 + bytes.Count(text[:i], []byte("\n"))
		return f.errorAt(line, "save it as UTF-8 or ASCII; in UTF-16 every other byte is a zero", "there is a zero byte, so this is not text")
	}
	return nil
}

// outside takes a line that is not within a block.
func (f *chainFile) outside(n int, line string) error {
	if strings.HasPrefix(line, "#") {
		return nil // a comment, also where somebody has put a whole block into one
	}
	if line == certificateBegin {
		f.begun = n
		f.body.Reset()
		return nil
	}
	m := boundary.FindStringSubmatch(line)
	switch {
	case strings.Contains(line, "PRIVATE KEY") && (m != nil || likeBoundary.MatchString(line)):
		return f.errorAt(n, "the private key lives in the token; remove it from this file, and from wherever the file has been copied to", "the file holds a private key")
	case line == certificateEnd:
		return f.errorAt(n, "its first line is missing or damaged; it is "+certificateBegin, "a certificate ends here that has not begun")
	case m != nil:
		return f.errorAt(n, hintForLabel(m[2]), "there is a %q block; only certificates belong there", m[2])
	case strings.Contains(line, byteOrderMark) && likeBoundary.MatchString(line):
		return f.errorAt(n, "two files were joined, of which the second one begins with the mark; remove it", "there is a byte order mark in front of %s", strings.ReplaceAll(line, byteOrderMark, ""))
	case likeBoundary.MatchString(line):
		return f.errorAt(n, hintForDamage(line), "%.60q is neither the first nor the last line of a certificate, but looks like it", line)
	case len(line) >= likeBody && base64Only.MatchString(line) && !hexOnly.MatchString(line):
		return f.errorAt(n, "the line in front of a certificate must be "+certificateBegin, "this looks like a part of a certificate, but none has begun")
	}
	return nil // explanatory text
}

// inside takes a line of a block.
func (f *chainFile) inside(n int, line string) error {
	switch {
	case line == certificateEnd:
		return f.end(n)
	case base64Only.MatchString(line), line == "":
		f.body.WriteString(line)
		return nil
	case strings.HasPrefix(line, certificateEnd) && strings.Contains(line, "BEGIN"):
		return f.errorAt(n, "begin a new line behind "+certificateEnd,
			"two files were joined without a line end between them: the next certificate must begin on a line of its own")
	case strings.HasPrefix(line, "-----BEGIN"):
		return f.errorAt(f.begun, "its last line is missing; it is "+certificateEnd, "the certificate that begins here has no end before the next block, in line %d", n)
	case strings.Contains(line, "-"):
		return f.errorAt(n, hintForDamage(line), "%.60q is not the last line of the certificate that begins in line %d", line, f.begun)
	}
	return f.errorAt(n, "the file was damaged, or not copied whole", "this cannot be in the certificate that begins in line %d: it is not base64", f.begun)
}

// end takes the certificate that ends in line n.
func (f *chainFile) end(n int) error {
	der, err := base64.StdEncoding.DecodeString(f.body.String())
	if err != nil {
		return f.errorAt(f.begun, "the file was damaged, or not copied whole", "the certificate that begins here is not base64")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return f.errorAt(f.begun, "`openssl x509 -text` should be able to show it", "certificate %d cannot be read: %v", len(f.certs)+1, err)
	}
	f.certs = append(f.certs, cert)
	f.begun = 0
	return nil
}

// hintForDamage says what a boundary looks like, and what may have happened to this one.
func hintForDamage(line string) string {
	if strings.Contains(line, `\n`) {
		return `there is \n where a line should end: write real line ends, as printf '%b' does`
	}
	return "the lines are " + certificateBegin + " and " + certificateEnd + ", with five dashes on each side and nothing else"
}

// hintForLabel says how other blocks become certificates.
func hintForLabel(label string) string {
	switch label {
	case "TRUSTED CERTIFICATE", "X509 CERTIFICATE":
		return "`openssl x509` writes it as a CERTIFICATE"
	case "PKCS7", "CMS":
		return "`openssl pkcs7 -print_certs` writes what it holds as certificates; the site's own comes first"
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return "this is the request; the authority sends the certificate"
	}
	return "remove it from the file"
}
