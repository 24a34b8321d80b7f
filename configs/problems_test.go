package configs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport/configs"
)

// badInput is a configuration with something wrong in it.
type badInput struct {
	name     string
	old, new string   // a replacement in the valid configuration; without old, new is the whole file
	environ  []string // variables of the environment
	want     []string // every problem, as "line path: message"
}

func (b badInput) run(t *testing.T) {
	t.Helper()
	text := b.new
	if b.old != "" {
		text = with(t, b.old, b.new)
	}
	var got []string
	for _, p := range problemsOf(t, text, b.environ...).List {
		got = append(got, fmt.Sprintf("%d %s", p.Line, p))
	}
	if diff := cmp.Diff(b.want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParse_WhatDoesNotFitTheSchema(t *testing.T) {
	for _, test := range unfit {
		t.Run(test.name, test.run)
	}
}

// unfit is what the strict decoder refuses.
var unfit = []badInput{
	{
		name: "empty file",
		want: []string{
			"0 the file holds no settings",
		},
	},
	{
		name: "comments alone",
		new:  "# nothing\n---\n",
		want: []string{
			"0 the file holds no settings",
		},
	},
	{
		name: "no mapping",
		new:  "- a\n",
		want: []string{
			"0 expected a mapping, found a list",
		},
	},
	{
		name: "broken YAML",
		old:  "hosts: [", new: "hosts: ][",
		want: []string{
			"10 not valid YAML: did not find expected node content",
		},
	},
	{
		name: "tab",
		old:  "  tokens:", new: "\ttokens:",
		want: []string{
			"2 not valid YAML: found character that cannot start any token",
		},
	},
	{
		name: "not UTF-8",
		new:  "hsm: \xff\n",
		want: []string{
			"0 not valid YAML: invalid leading UTF-8 octet",
		},
	},
	{
		name: "two documents",
		old:  "pools:", new: "pools:\n  - name: web\n    backends: [{address: 10.0.0.1:80}]\n---\npools:",
		want: []string{
			"19 a second YAML document begins here",
		},
	},
	{
		name: "nothing but a key",
		new:  "log: {level: info}\n",
		want: []string{
			"0 hsm.tokens: at least one token is required",
			"0 listeners: at least one listener is required",
			"0 pools: at least one pool is required",
			"0 sites: at least one site is required",
		},
	},
	{
		name: "empty sections",
		new:  "hsm: {}\nlisteners: []\nsites: []\npools: []\n",
		want: []string{
			"1 hsm.tokens: at least one token is required",
			"2 listeners: at least one listener is required",
			"3 sites: at least one site is required",
			"4 pools: at least one pool is required",
		},
	},
	{
		name: "null section",
		old:  "hsm:\n", new: "admin:\nlog: ~\nhsm:\n",
		want: []string{
			"1 admin: has no value",
			"2 log: has no value",
		},
	},
	{
		name: "unknown section",
		old:  "hsm:\n", new: "bogus: {}\nhsm:\n",
		want: []string{
			"1 bogus: unknown key",
		},
	},
	{
		name: "unknown near key hides the missing one",
		old:  "hosts:", new: "hots:",
		want: []string{
			"11 sites[0].hots: unknown key",
		},
	},
	{
		name: "unknown key beside near one",
		old:  "hosts:", new: "hots: [a]\n    hosts:",
		want: []string{
			"11 sites[0].hots: unknown key",
		},
	},
	{
		name: "upper-case key",
		old:  "listeners:", new: "Listeners:",
		want: []string{
			"7 Listeners: unknown key",
		},
	},
	{
		name: "dotted key",
		old:  "hsm:\n", new: "log.level: warn\nhsm:\n",
		want: []string{
			"1 unknown key (not shown: it is no plain word)",
		},
	},
	{
		name: "key with dashes",
		old:  "hsm:\n", new: "shutdown-timeout: 5s\nhsm:\n",
		want: []string{
			"1 shutdown-timeout: unknown key",
		},
	},
	{
		name: "doubled key",
		old:  "      token: edge label", new: "      token: edge label\n      token: other",
		want: []string{
			"6 hsm.tokens[0].token: is given twice, first in line 5",
		},
	},
	{
		name: "doubled unknown key",
		old:  "hsm:\n", new: "1: a\n1: b\nhsm:\n",
		want: []string{
			"1 unknown key (not shown: it is no plain word)",
			"2 a key is given twice, first in line 1",
		},
	},
	{
		name: "doubled section",
		old:  "pools:", new: "sites: []\npools:",
		want: []string{
			"16 sites: is given twice, first in line 9",
		},
	},
	{
		name: "anchor and alias",
		old:  "hosts: [www.example.org]", new: "hosts: &h [www.example.org]\n    routes: *h",
		want: []string{
			"11 sites[0].hosts: anchors and aliases are not supported",
			"12 sites[0].routes: anchors and aliases are not supported",
		},
	},
	{
		name: "alias without anchor",
		old:  "www.example.org", new: "*h",
		want: []string{
			"11 not valid YAML: anchors and aliases are not supported",
		},
	},
	{
		name: "merge key",
		old:  "hosts:", new: "<<: {name: x}\n    hosts:",
		want: []string{
			"11 sites[0]: merge keys are not supported",
		},
	},
	{
		name: "tag",
		old:  "name: www", new: "name: !!str www",
		want: []string{
			"10 sites[0].name: YAML tags are not supported",
		},
	},
	{
		name: "complex key",
		old:  "hosts:", new: "? [a]\n    : b\n    hosts:",
		want: []string{
			"11 sites[0]: a key is not a plain word",
		},
	},
	{
		name: "number for text",
		old:  "name: www", new: "name: 1",
		want: []string{
			"10 sites[0].name: expected text, found a number",
		},
	},
	{
		name: "scalar for a list",
		old:  "[www.example.org]", new: "www.example.org",
		want: []string{
			"11 sites[0].hosts: expected a list, found text",
		},
	},
	{
		name: "list for a mapping",
		old:  "- address: 10.0.0.1:8080", new: "- [10.0.0.1:8080]",
		want: []string{
			"19 pools[0].backends[0]: expected a mapping, found a list",
		},
	},
	{
		name: "scalar for a mapping",
		old:  "- address: 10.0.0.1:8080", new: "- 10.0.0.1:8080",
		want: []string{
			"19 pools[0].backends[0]: expected a mapping, found text",
		},
	},
	{
		name: "mapping for a list",
		old:  "    - name: edge", new: "      name: edge",
		want: []string{
			"2 hsm.tokens: expected a list, found a mapping",
		},
	},
	{
		name: "quoted number",
		old:  "pin:", new: "sessions: \"16\"\n      pin:",
		want: []string{
			"6 hsm.tokens[0].sessions: expected a whole number, found text",
		},
	},
	{
		name: "odd numbers",
		old:  "pin:", new: "sessions: 0x10\n      slot: 010\n      pin:",
		want: []string{
			`6 hsm.tokens[0].sessions: "0x10" is not a decimal number in range`,
			`7 hsm.tokens[0].slot: "010" is not a decimal number in range`,
		},
	},
	{
		name: "bounds",
		old:  `":443"`, new: "\":443\"\n    limits: {header: 1KiB, fields: 9, connections: 0}",
		want: []string{
			"9 listeners[0].limits.connections: 0 is out of range",
			"9 listeners[0].limits.fields: 9 is out of range",
			"9 listeners[0].limits.header: 1KiB is out of range",
		},
	},
	{
		name: "negative",
		old:  "pin:", new: "sessions: -1\n      pin:",
		want: []string{
			"6 hsm.tokens[0].sessions: -1 is out of range",
		},
	},
	{
		name: "durations",
		old:  `":443"`, new: "\":443\"\n    timeouts: {handshake: 10, header: 0s, read: 48h, write: \"5\", idle: -1s, tunnel: soon}",
		want: []string{
			"9 listeners[0].timeouts.handshake: expected a duration, found a number",
			`9 listeners[0].timeouts.header: "0s" is not positive`,
			`9 listeners[0].timeouts.idle: "-1s" is not positive`,
			`9 listeners[0].timeouts.read: "48h" is longer than 24h`,
			`9 listeners[0].timeouts.tunnel: "soon" is not a duration`,
			`9 listeners[0].timeouts.write: "5" is not a duration`,
		},
	},
	{
		name: "sizes",
		old:  `":443"`, new: "\":443\"\n    limits: {header: \"65536\"}",
		want: []string{
			"9 listeners[0].limits.header: expected a size, found text",
		},
	},
	{
		name: "size unit",
		old:  `":443"`, new: "\":443\"\n    limits: {header: 64kb}",
		want: []string{
			`9 listeners[0].limits.header: "64kb" is not a size`,
		},
	},
	{
		name: "boolean",
		old:  "hsm:\n", new: "log: {access: yes}\nhsm:\n",
		want: []string{
			"1 log.access: expected true or false, found text",
		},
	},
	{
		name: "log words",
		old:  "hsm:\n", new: "log: {level: warning, format: xml}\nhsm:\n",
		want: []string{
			`1 log.format: unknown value "xml"`,
			`1 log.level: unknown value "warning"`,
		},
	},
	{
		name: "date",
		old:  "name: www", new: "name: 2024-01-01",
		want: []string{
			"10 sites[0].name: expected text, found a date",
		},
	},
	{
		name: "null item",
		old:  "[www.example.org]", new: "[www.example.org, ~, \"\"]",
		want: []string{
			"11 sites[0].hosts[1]: has no value",
			"11 sites[0].hosts[2]: must not be empty",
		},
	},
	{
		name: "control character",
		old:  "name: www", new: `name: "w\nw"`,
		want: []string{
			"10 sites[0].name: holds a control character or broken UTF-8",
		},
	},
	{
		name: "environment variables",
		new:  valid, environ: []string{"SALLYPORT_LOGLEVEL=x", "SALLYPORT_LOG_LEVEL=loud", "SALLYPORT_LOG_ACCESS=1", "SALLYPORT_SHUTDOWN_TIMEOUT=", "SALLYPORT_ADMIN_ADDRESS=nowhere", "SALLYPORT_A B\nC=1"},
		want: []string{
			`0 "SALLYPORT_A B\nC": no setting has this variable`,
			`0 SALLYPORT_ADMIN_ADDRESS: "nowhere" is not an address to listen on`,
			"0 SALLYPORT_LOGLEVEL: no setting has this variable",
			`0 SALLYPORT_LOG_ACCESS: expected true or false, found "1"`,
			`0 SALLYPORT_LOG_LEVEL: unknown value "loud"`,
			"0 SALLYPORT_SHUTDOWN_TIMEOUT: is set and empty",
		},
	},
	{
		name: "everything at once",
		old:  "", new: "hsm:\n  tokens:\n    - name: edge\n      module: 5\n      sesions: 3\n      token: x\nsites: no\nlog:\n  level: loud\n  level: info\n", environ: []string{"SALLYPORT_X=1"},
		want: []string{
			"0 SALLYPORT_X: no setting has this variable",
			"0 listeners: at least one listener is required",
			"0 pools: at least one pool is required",
			"3 hsm.tokens[0].pin: is required",
			"4 hsm.tokens[0].module: expected text, found a number",
			"5 hsm.tokens[0].sesions: unknown key",
			"7 sites: expected a list, found text",
			`9 log.level: unknown value "loud"`,
			"10 log.level: is given twice, first in line 9",
		},
	},
}

func TestParse_ALargeFileIsNotRead(t *testing.T) {
	text := valid + strings.Repeat("# padding\n", 1<<17)
	if got, want := problemsOf(t, text).Error(), "the file is larger than 1MiB"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Nine anchors that each hold the last one nine times would be 9⁹ items.
func TestParse_AnAliasBombDoesNotGoOff(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("sites: \n  - &a0 [x]\n")
	for i := range 9 {
		items := slices.Repeat([]string{fmt.Sprintf("*a%d", i)}, 9)
		fmt.Fprintf(&bomb, "  - &a%d [%s]\n", i+1, strings.Join(items, ", "))
	}
	if got := len(problemsOf(t, bomb.String()).List); got != 13 {
		t.Errorf("%d problems, want one an anchor and one a missing section", got)
	}
}

func TestParse_DeepNestingIsAnError(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("[", 100_000),
		"a: " + strings.Repeat("{a: ", 100_000),
		strings.Repeat("- ", 100_000),
	} {
		problemsOf(t, text)
	}
}

func TestProblems_Hints(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{"hosts:", "hots:", `did you mean "hosts"?`},
		{"hosts:", "Hosts:", `did you mean "hosts"?`},
		{"pin:", "sing-timeout: 5s\n      pin:", `did you mean "sign_timeout"?`},
		{"pin:", "colour: red\n      pin:", "one of: environment, module, name, pin, processes, queue, serial, sessions, sign_timeout, slot, token"},
		{"pool: web", "pool: wbe", `did you mean "web"?`},
		{"pool: web", "pool: api", "one of: web"},
		{"  - name: web\n", "  - name: web\n    protocol: http2\n", "one of: http1, h2c"},
		{"    hosts:", "    hsts: {max_age: 30}\n    hosts:", "a whole number with a d, such as 365d"},
		{"  tokens:", "\ttokens:", "YAML is indented by blanks, and this line holds a tab"},
		{`":443"`, "\":443\"\n    policy: old", "one of: intermediate, modern"},
	} {
		problems := problemsOf(t, with(t, test.old, test.new)).List
		if len(problems) != 1 || problems[0].Hint != test.want {
			t.Errorf("%s: got %v with hint %q, want hint %q", test.new, problems, problems[0].Hint, test.want)
		}
	}
}

func TestProblems_EachTakesOneLine(t *testing.T) {
	problems := configs.Problems{List: []configs.Problem{
		{Message: "everything is wrong"},
		{Path: "log.level", Message: "too loud", Line: 3, Hint: "whisper"},
	}}
	for file, want := range map[string]string{
		"":       "everything is wrong\nline 3: log.level: too loud (hint: whisper)",
		"a.yaml": "a.yaml: everything is wrong\na.yaml:3: log.level: too loud (hint: whisper)",
	} {
		problems.File = file
		if got := problems.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
