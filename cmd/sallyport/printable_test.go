package main

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/json"
	"testing"

	"sallyport/configs"
)

// strange is what a certificate's subject may hold, and a key without a glyph beyond
// the basic plane.
const strange = hostile + "\x7f\u2028\U000E0001 Grüße 鍵 🔑"

func TestLogs_HoldNothingThatATerminalObeys(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log := serviceLog(configs.Log{Level: "info", Format: format}, &out)
		subject := pkix.Name{CommonName: strange}
		log.Info("certificate "+strange, strange, strange, "subject", subject)
		tame(t, out.String())
		if format != "json" {
			continue
		}
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("%v:\n%s", err, &out)
		}
		if line["msg"] != "certificate "+strange || line[strange] != strange {
			t.Errorf("the line means something else:\n%s", &out)
		}
	}
}

func TestPrintJSON_IsTheSameValue(t *testing.T) {
	for _, text := range []string{"", "edge", strange} {
		var out bytes.Buffer
		if err := printJSON(&out, []string{text}); err != nil {
			t.Fatal(err)
		}
		tame(t, out.String())
		var read []string
		if err := json.Unmarshal(out.Bytes(), &read); err != nil || read[0] != text {
			t.Errorf("%q was printed as %s", text, &out)
		}
	}
}
