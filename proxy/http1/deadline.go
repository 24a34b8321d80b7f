package http1

import "time"

// epoch is what deadlines are counted from, on the monotonic clock.
var epoch = time.Now()

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// deadline is a connection's deadline for reading or for writing, as it was
// set last. Setting one costs more than all the rest of a small read, so one
// that is set is left alone as long as it is right to an eighth. It is never too early.
type deadline struct {
	until time.Duration // since epoch; 0: there is none
}

// within sees to it that a wait ends after limit, or up to an eighth later. 0 is no
// limit.
func (d *deadline) within(limit time.Duration, set func(time.Time) error) error {
	if limit == 0 {
		if d.until == 0 {
			return nil
		}
		d.until = 0
		return set(time.Time{})
	}
	return d.from(time.Since(epoch), limit, set)
}

// from is within for who knows what time it is, since epoch.
func (d *deadline) from(now, limit time.Duration, set func(time.Time) error) error {
	if left := d.until - now; left >= limit && left <= limit+limit/8 {
		return nil
	}
	return d.at(now+limit+limit/8, set)
}

// at has a wait end at a time, since epoch.
func (d *deadline) at(until time.Duration, set func(time.Time) error) error {
	d.until = until
	return set(epoch.Add(until))
}

// forget has the next within set it in any case: it is not known.
func (d *deadline) forget() { d.until = -1 }
