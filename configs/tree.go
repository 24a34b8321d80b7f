package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration: a larger file is another file.
const maxFile = 1 << 20

// readTree parses the one document that data holds. Where there is none to walk,
// that is reported, nothing else will be, and the tree is nil. The tree has
// not been decoded: aliases in it are marks, and expand to nothing.
func readTree(p place, data []byte) *yaml.Node {
	if len(data) > maxFile {
		p.spoil(fmt.Sprintf("the file is larger than %s", Size(maxFile)), "")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	document, err := readDocument(decoder)
	switch {
	case errors.Is(err, io.EOF):
		p.noSettings()
		return nil
	case err != nil:
		p.syntaxError(data, err)
		return nil
	}
	switch second, err := readDocument(decoder); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.syntaxError(data, err)
		return nil
	default:
		p.sayAt(second.Line, "a second YAML document begins here", "write one document, without --- lines in it")
	}
	root := document.Content[0]
	if root.ShortTag() == "!!null" {
		p.noSettings()
		return nil
	}
	return root
}

func (p place) noSettings() {
	p.spoil("the file holds no settings", "begin with the sample, sallyport.yaml")
}

// readDocument is yaml's Decode. The library panics on a few inputs of nonsense;
// that is an error like any other of the file's syntax.
func readDocument(decoder *yaml.Decoder) (document *yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			err = errUnreadable
		}
	}()
	document = new(yaml.Node)
	if err := decoder.Decode(document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 {
		return nil, errUnreadable
	}
	return document, nil
}

var errUnreadable = errors.New("yaml: no YAML that can be read")

var (
	yamlError     = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxError reports an error of the YAML library. Its parser's messages are
// fixed texts, but for one that quotes the file: an alias of an anchor that
// isn't there, such as a PIN that begins with an asterisk.
func (p place) syntaxError(data []byte, err error) {
	line, message := 0, "broken YAML"
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	hint := "what is wrong may stand a line or two before"
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
		message = "anchors and aliases are not supported"
		hint = "put a value that begins with * or & in quotes"
	}
	if message == "found character that cannot start any token" && lineHasTab(data, line) {
		hint = "YAML is indented by blanks, and this line holds a tab"
	}
	p.sayAt(line, "not valid YAML: "+message, hint)
	p.mute()
}

// lineHasTab reports whether a line, of which the first is 1, holds a tab.
func lineHasTab(data []byte, line int) bool {
	lines := bytes.Split(data, []byte("\n"))
	return line >= 1 && line <= len(lines) && bytes.Contains(lines[line-1], []byte("\t"))
}
