package hsm

import "time"

// SetPatience is for tests with a token that hangs.
func (r *Keyring) SetPatience(d time.Duration) { r.readings.patience = d }
