package wire

import "time"

// Examination is what an open token says of itself, for `sallyport doctor`. Texts are the library's own and may hold anything.
type Examination struct {
	Library    Library     `json:"library"`
	Hardware   string      `json:"hardware_version"`
	Firmware   string      `json:"firmware_version"`
	Flags      TokenFlags  `json:"flags"`
	Limits     Limits      `json:"sessions"`
	Opening    Opening     `json:"opening"`
	Clock      *Clock      `json:"clock,omitempty"` // nil: the token has none
	Mechanisms []Mechanism `json:"mechanisms"`      // of all that it has, those that matter here
}

// Library is what C_GetInfo says.
type Library struct {
	Description  string `json:"description"`
	Manufacturer string `json:"manufacturer"`
	Version      string `json:"version"`
	Cryptoki     string `json:"cryptoki"` // the version of PKCS#11
}

// TokenFlags are those of CK_TOKEN_INFO that matter here (PKCS#11 v2.40 §3.2).
type TokenFlags struct {
	LoginRequired  bool `json:"login_required"`
	PINInitialized bool `json:"user_pin_initialized"`
	PINPad         bool `json:"protected_authentication_path"`
	PINCountLow    bool `json:"user_pin_count_low"`
	PINFinalTry    bool `json:"user_pin_final_try"`
	PINLocked      bool `json:"user_pin_locked"`
	PINToBeChanged bool `json:"user_pin_to_be_changed"`
	RNG            bool `json:"rng"`
	WriteProtected bool `json:"write_protected"`
}

// Limits are what the token says of its sessions, over all processes that use
// it; -1: it does not say.
type Limits struct {
	Most int `json:"most"` // 0: no limit
	Open int `json:"open"`
}

// Opening is how sessions opened, one after the other and beside that of the login.
type Opening struct {
	Wanted  int           `json:"wanted"`
	Opened  int           `json:"opened"`
	Median  time.Duration `json:"median_ns"`
	Slowest time.Duration `json:"slowest_ns"`
	Reason  string        `json:"reason,omitempty"` // why there were no more
}

// Clock is the token's own.
type Clock struct {
	Text  string        `json:"text"`            // as the token gives it
	Ahead time.Duration `json:"ahead_ns"`        // of this machine's
	Error string        `json:"error,omitempty"` // why Text could not be read
}

// Mechanism is an entry of the token's list, or the lack of one.
type Mechanism struct {
	Name     string `json:"name"` // CKM_…
	Listed   bool   `json:"listed"`
	Sign     bool   `json:"sign"`
	Hardware bool   `json:"hardware"`
	MinKey   uint   `json:"min_key"` // in bits or bytes, as the mechanism has it
	MaxKey   uint   `json:"max_key"`
}

// SecretList is what secret keys are on the token. Where none of them can be
// used, keys of the session alone were tried in their stead, and destroyed.
type SecretList struct {
	Keys        []Secret `json:"keys"`
	SessionKeys []Secret `json:"session_keys,omitempty"`
}

// Secret is a secret key on the token, and the MAC that it makes.
type Secret struct {
	ID          []byte        `json:"id,omitempty"`
	Label       string        `json:"label,omitempty"`
	Type        string        `json:"type"`
	Extractable bool          `json:"extractable"`
	Mechanism   string        `json:"mechanism,omitempty"` // that was tried
	Took        time.Duration `json:"took_ns,omitempty"`
	Reason      string        `json:"reason,omitempty"` // why it makes no MAC; empty: it does, the same one each time
}
