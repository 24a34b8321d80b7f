package admin

import "time"

// Status is what the service is at, as GET /status tells it in JSON. It holds
// no secret: where something is read from, never what.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Taken   time.Time `json:"taken"`               // when this was put together
	NotUp   string    `json:"not_ready,omitempty"` // what /readyz says, unless it is ok
	Next    time.Time `json:"next_read,omitzero"`  // when the tokens are read anew by themselves

	Tokens []Token `json:"tokens"`
	Sites  []Site  `json:"sites"`
	Pools  []Pool  `json:"pools"`
}

// Token is one PKCS#11 token.
type Token struct {
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason,omitempty"`
	Hint    string    `json:"hint,omitempty"` // what can be done about it
	Label   string    `json:"label"`
	Serial  string    `json:"serial"`
	Library string    `json:"library"`
	Read    time.Time `json:"read,omitzero"` // when its keys and certificates were last read

	Processes  int          `json:"processes"` // that there should be
	Up         int          `json:"processes_up"`
	Sessions   int          `json:"sessions"`
	Restarts   int          `json:"restarts"`
	Signatures []Signatures `json:"signatures"`
	Trouble    *Trouble     `json:"last_error,omitempty"`
}

// Signatures are those of one kind of key.
type Signatures struct {
	Kind     string  `json:"kind"` // ecdsa or rsa
	InFlight int     `json:"in_flight"`
	Waiting  int     `json:"waiting"`
	Pace     float64 `json:"pace_seconds"` // a moving average; 0: none was made of late
}

// Trouble is an error and its time.
type Trouble struct {
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

// Site is a set of hosts and what is served for them.
type Site struct {
	Name         string        `json:"name"`
	Hosts        []string      `json:"hosts"`
	Certificates []Certificate `json:"certificates"`
}

// Certificate is one certificate of a site as it was configured, and what has
// become of it.
type Certificate struct {
	Key   string `json:"key"`
	Chain string `json:"chain,omitempty"` // empty: on the token
	// Kept: what is served no longer is what should be, and there is nothing
	// better.
	Kept      bool     `json:"kept,omitempty"`
	Served    Pair     `json:"served"`
	Fallbacks []Pair   `json:"fallbacks"`
	NotServed []Reason `json:"not_served"`
}

// Pair is a key and its certificate.
type Pair struct {
	Key       string    `json:"key"`
	Type      string    `json:"type"`
	Tokens    []string  `json:"tokens"`
	Subject   string    `json:"subject"`
	Serial    string    `json:"serial"` // hexadecimal
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	DaysLeft  int       `json:"days_left"` // negative once it has expired
	Schemes   []string  `json:"schemes"`
	Chain     []string  `json:"chain"`             // the subjects of the certificates sent behind it
	Warning   string    `json:"warning,omitempty"` // what clients may find wrong with it
}

// Reason is why something that a certificate's configuration names is not served.
type Reason struct {
	Text  string    `json:"text"`
	Hint  string    `json:"hint,omitempty"` // what can be done about it
	Since time.Time `json:"since"`
}

// Pool is a set of backends.
type Pool struct {
	Name     string    `json:"name"`
	Backends []Backend `json:"backends"`
}

// Backend is one backend of a pool.
type Backend struct {
	Address  string    `json:"address"`
	State    string    `json:"state"`
	Until    time.Time `json:"until,omitzero"` // passed over until then
	InFlight int       `json:"in_flight"`
	Failures int       `json:"failures"` // since the start
}

// Rescan is what POST /rescan has come to.
type Rescan struct {
	Changes   []string `json:"changes"`
	NotServed []string `json:"not_served"` // all that is, not only since now, with the reason
	Unread    []string `json:"unread"`     // tokens that could not be read, with the reason
}

// Refusal is the body of an answer that is no success.
type Refusal struct {
	Text string `json:"error"`
	Hint string `json:"hint,omitempty"`
}
