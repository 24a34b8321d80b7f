package printable

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode"
)

// strange is what a certificate's subject may hold.
const strange = "\x1b[2J\u009b31m\u202Egpj.\r\nfake: line\x7f\u2028\U000E0001 Grüße 鍵 🔑"

func tame(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U is in %q", r, text)
		}
	}
}

func TestText(t *testing.T) {
	tame(t, Text(strange))
	if got := Text("a\tb\nc"); got != "a b\nc" {
		t.Errorf("got %q", got)
	}
}

func TestJSON_IsTheSameValue(t *testing.T) {
	var out bytes.Buffer
	if err := json.NewEncoder(JSON{&out}).Encode(strange); err != nil {
		t.Fatal(err)
	}
	tame(t, out.String())
	var read string
	if err := json.Unmarshal(out.Bytes(), &read); err != nil || read != strange {
		t.Errorf("it was written as %s", &out)
	}
}

func TestJSON_CostsNothingWhereAllIsPrintable(t *testing.T) {
	out := JSON{new(bytes.Buffer)}
	line := []byte(`{"msg":"request","path":"/hello"}` + "\n")
	if _, err := out.Write(nil); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		out.Writer.(*bytes.Buffer).Reset()
		_, _ = out.Write(line)
	}); n > 0 {
		t.Errorf("%v allocations for a line", n)
	}
}
