package pool

import "time"

// Status is a snapshot of a pool for the admin side.
type Status struct {
	Pool     string          `json:"pool"`
	Backends []BackendStatus `json:"backends"`
}

// BackendStatus is a snapshot of one backend.
type BackendStatus struct {
	Address  string    `json:"address"`
	State    string    `json:"state"` // up, down or ejected
	InFlight int       `json:"in_flight"`
	Failures int       `json:"failures"`       // since the start
	Until    time.Time `json:"until,omitzero"` // passed over until then; zero when up
}

// Status returns what is known of the backends now, in the order they were
// configured.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Pool: p.name, Backends: make([]BackendStatus, 0, len(p.backends))}
	for _, b := range p.backends {
		s.Backends = append(s.Backends, BackendStatus{
			Address: b.address, State: b.state.String(),
			InFlight: int(b.inFlight.Load()), Failures: b.failures, Until: b.until,
		})
	}
	return s
}
