package hsm

import "container/list"

// turns are signatures that wait, in the order in which they are served: their clients
// take turns, and those of one client are first come, first served. So a client that
// begins a thousand handshakes delays another one's by a single signature.
//
// Each call takes a time that hardly grows with how many wait: thousands do after a line
// to a large site has come back.
type turns struct {
	waiting int
	lines   map[client]*line
	ring    list.List    // of *line; the first is served next
	lengths []*list.List // of *line, by how many of the client wait
	deep    counts       // at n: how many clients have at least n waiting
}

// line is one client's signatures that wait.
type line struct {
	client    client
	waiters   list.List // of *waiter
	at        *list.Element
	ofALength *list.Element
}

// add puts w behind the others of its client.
func (t *turns) add(w *waiter) {
	l := t.lines[w.client]
	if l == nil {
		l = &line{client: w.client}
		l.at = t.ring.PushBack(l)
		if t.lines == nil {
			t.lines = make(map[client]*line)
		}
		t.lines[w.client] = l
	}
	w.at = l.waiters.PushBack(w)
	t.waiting++
	t.deep.add(l.waiters.Len(), 1)
	t.sort(l, l.waiters.Len()-1)
}

// remove takes w out, whose client keeps its place among the others.
func (t *turns) remove(w *waiter) {
	l := t.lines[w.client]
	l.waiters.Remove(w.at)
	w.at = nil
	t.waiting--
	t.deep.add(l.waiters.Len()+1, -1)
	t.sort(l, l.waiters.Len()+1)
	if l.waiters.Len() == 0 {
		t.ring.Remove(l.at)
		delete(t.lines, l.client)
	}
}

// sort puts a line of another length before among its like.
func (t *turns) sort(l *line, before int) {
	if before > 0 {
		t.lengths[before].Remove(l.ofALength)
	}
	n := l.waiters.Len()
	for len(t.lengths) <= n {
		t.lengths = append(t.lengths, list.New())
	}
	if n > 0 {
		l.ofALength = t.lengths[n].PushBack(l)
	}
	for len(t.lengths) > 1 && t.lengths[len(t.lengths)-1].Len() == 0 {
		t.lengths = t.lengths[:len(t.lengths)-1]
	}
}

// next is who is served next; nil: nobody waits.
func (t *turns) next() *waiter {
	if front := t.ring.Front(); front != nil {
		return front.Value.(*line).waiters.Front().Value.(*waiter)
	}
	return nil
}

// serve takes out who is next, whose client lets all others go first now.
func (t *turns) serve() {
	w := t.next()
	t.ring.MoveToBack(t.lines[w.client].at)
	t.remove(w)
}

// ahead is how many are served before one more signature of c's, if nobody else comes.
func (t *turns) ahead(c client) int {
	own := 0
	if l := t.lines[c]; l != nil {
		own = l.waiters.Len()
	}
	return t.deep.upTo(own + 1)
}

// greediest is the last signature of a client with the most that wait, if that is more
// than c would have with one more; nil: nobody has.
func (t *turns) greediest(c client) *waiter {
	most := len(t.lengths) - 1
	own := 0
	if l := t.lines[c]; l != nil {
		own = l.waiters.Len()
	}
	if most <= own+1 {
		return nil
	}
	return t.lengths[most].Front().Value.(*line).waiters.Back().Value.(*waiter)
}

// all are those who wait, in no order.
func (t *turns) all() []*waiter {
	var all []*waiter
	for _, l := range t.lines {
		for e := l.waiters.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*waiter))
		}
	}
	return all
}

// counts are numbers at 1, 2, 3 and so on, whose sums can be told without adding all of
// them up: a binary indexed tree. Its size is a power of two.
type counts []int

func (c *counts) add(at, n int) {
	if len(*c) == 0 {
		*c = make(counts, 2)
	}
	for at >= len(*c) {
		half := len(*c)
		sum := 0
		if half > 1 {
			sum = c.upTo(half - 1)
		}
		grown := make(counts, 2*half)
		copy(grown, *c)
		grown[half] = sum // of all before it: it had no place until now
		*c = grown
	}
	for ; at < len(*c); at += at & -at {
		(*c)[at] += n
	}
}

// upTo is the sum of the numbers at 1 to at.
func (c counts) upTo(at int) int {
	sum := 0
	for at = min(at, len(c)-1); at > 0; at &= at - 1 {
		sum += c[at]
	}
	return sum
}
