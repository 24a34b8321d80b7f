package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"sallyport/proxy/http2"
	"sallyport/proxy/message"
)

// forwarder sends requests to one pool's backends.
type forwarder struct {
	Pool
	server    *Server
	log       *slog.Logger
	links     links
	resends   *resendBudget
	blames    *blames
	silent    silents
	responded func(ticket uint64) // tells the balancer; nil: it does not want to know

	shortages notedShortages
}

func newForwarder(p Pool, s *Server) *forwarder {
	p = p.withDefaults()
	f := &forwarder{Pool: p, server: s, log: s.log, links: newLinks(p, s), resends: newResendBudget(), blames: newBlames(p.Name, s)}
	if r, ok := p.Balancer.(responder); ok {
		f.responded = r.Responded
	}
	return f
}

// errUnsent marks the error of a try that left no trace: not a byte went to
// the backend and the request's body is whole.
var errUnsent = errors.New("nothing was sent")

// forward has the request answered by a backend that the balancer picks. A try
// of which nothing was sent, most often because no connection could be made, is
// followed by a try at the next backend, each at most once; and so is one that failed
// before a response, where the request may be sent again (resend.go).
func (x *exchange) forward() error {
	x.editRequest()
	if err := x.editUpgrade(); err != nil {
		return err
	}
	if err := x.takeBody(); err != nil {
		return err
	}
	f := x.route.pool
	f.resends.earn()
	var all []error
	for {
		address, ticket, ok := f.pick(x)
		if !ok {
			return exhausted(all)
		}
		if n := len(all); n > 0 && errors.Is(all[n-1], errResend) && !f.mayResend(x) {
			f.Balancer.Release(ticket, context.Canceled)
			return all[n-1]
		}
		x.tries++
		x.backend = address
		x.trying, x.ticket, x.handed = f, ticket, false
		blame, err := f.try(x, address)
		x.trying = nil
		if !x.handed {
			f.Balancer.Release(ticket, blame)
		}
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errUnsent) && !errors.Is(err, errResend):
			f.unpick(x)
			return err
		}
		f.log.Debug("try failed", "pool", f.Name, "backend", address, "error", err)
		if slices.Contains(x.tried, address) {
			f.unpick(x)
			return fmt.Errorf("%w: the balancer picked %s twice", errUnreachable, address)
		}
		x.tried = append(x.tried, address)
		if all = append(all, err); x.connecting >= f.ConnectTimeout {
			f.unpick(x)
			return exhausted(all)
		}
	}
}

// picked is a backend that a request tries next.
type picked struct {
	address string
	ticket  uint64
	ok      bool
}

// pick returns the backend that was picked already while the last one was dialled, or picks one.
func (f *forwarder) pick(x *exchange) (address string, ticket uint64, ok bool) {
	if p := x.next; p.ok {
		x.next = picked{}
		return p.address, p.ticket, true
	}
	return f.Balancer.Pick(x.tried, x.repeatable())
}

// unpick gives a backend back that is not tried.
func (f *forwarder) unpick(x *exchange) {
	if p := x.next; p.ok {
		x.next = picked{}
		f.Balancer.Release(p.ticket, context.Canceled)
	}
}

// dial makes a connection for a request. Where that takes long, another backend is looked for.
func (f *forwarder) dial(x *exchange, address string) (link, error) {
	began := time.Since(epoch)
	defer func() { x.connecting += time.Since(epoch) - began }()
	k, err := f.links.dial(x, address, func() bool {
		waited := x.connecting + time.Since(epoch) - began
		if waited >= f.ConnectTimeout {
			return waited >= f.ConnectTimeout+f.patience() // the last dial has begun late
		}
		x.tried = append(x.tried, address)
		p := &x.next
		p.address, p.ticket, p.ok = f.Balancer.Pick(x.tried, x.repeatable())
		x.tried = x.tried[:len(x.tried)-1]
		return p.ok
	})
	if err != errMoved {
		f.unpick(x) // there was a connection just then
	}
	return k, err
}

// try is one attempt at one backend, until its answer has ended. It returns
// what the balancer is told and what the client is.
//
// A request of which the backend can have seen nothing is made once more by
// another connection, and then at another backend. One that died while it was kept may
// have seen it: that is for requests that may be repeated (RFC 9110 §9.2.2).
func (f *forwarder) try(x *exchange, address string) (blame, err error) {
	if x.tries > 1 || x.upload.kind != uploadNone {
		x.asked = time.Since(epoch)
	} else {
		x.asked = x.began.Sub(epoch) // just now
	}
	if x.tries == 1 {
		x.firstAsked = x.asked
	}
	k := f.links.take(x, address)
	for tries := 1; ; tries++ {
		if k == nil {
			if k, err = f.dial(x, address); err != nil {
				return f.undialled(x, err)
			}
		}
		x.link = k
		head, err := f.ask(x, k)
		x.wait = time.Since(epoch) - x.asked
		if err == nil {
			return f.answer(x, k, head)
		}
		again := k.again(err)
		f.discard(x, k)
		unsent := again == all && x.upload.replayable()
		if tries < triesAfter(err) && (unsent || again == idempotentOnes && x.repeatable()) && x.left() == nil {
			k = nil
			continue
		}
		return f.explain(x, unsent, err)
	}
}

// undialled says what became of a try that has no connection.
func (f *forwarder) undialled(x *exchange, err error) (blame, told error) {
	if err == errMoved {
		return context.Canceled, fmt.Errorf("%w: %w", errUnsent, errConnectSlow)
	}
	return f.explain(x, true, err)
}

// triesAfter is how many a backend is given of a request that it did not process. Each
// connection that it was about to close takes some of the requests that were on their way.
func triesAfter(err error) int {
	var goAway *http2.GoAwayError
	if errors.Is(err, http2.ErrUnprocessed) && errors.As(err, &goAway) && goAway.Code == xhttp2.ErrCodeNo {
		return 16
	}
	return 2
}

// repeatable says whether sending the request twice does no more than once, as
// far as the client knows.
func (x *exchange) repeatable() bool {
	return idempotent(x.in.Method) && x.upload.repeatable()
}

// idempotent are the methods of RFC 9110 §9.2.2 that get here.
func idempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	}
	return false
}

// ask sends the request, or as much of it as there is, and waits for the head
// of the answer. What comes before (103 and its kin) is passed on.
func (f *forwarder) ask(x *exchange, k link) (*message.Response, error) {
	x.waits.in(k)
	if err := x.sendHead(k); err != nil {
		return nil, err
	}
	u := &x.upload
	streams := u.kind == uploadStream
	switch {
	case streams && u.running:
		if err := u.replay.again(k); err != nil {
			return nil, err
		}
	case streams:
		x.startUpload(k)
		defer u.tell(false) // after the answer's head nobody asks for it
	}
	for {
		head, err := k.ReadHead()
		switch {
		case err != nil:
			return nil, err
		case head.Status == 100:
			f.silent.note(x.backend, false)
			u.tell(true)
		case head.Status >= 200 || head.Status == 101:
			if streams {
				u.replay.lost.Store(true) // it is not needed any more
			}
			return head, nil
		default:
			x.hinted = true
			if err := x.client.WriteHead(x.editInterim(head), false); err != nil {
				return nil, x.writeFailed(err)
			}
		}
	}
}

// sendHead sends the head and a body that is there whole.
func (x *exchange) sendHead(c message.Call) error {
	u := &x.upload
	if err := c.WriteHead(&x.out, u.kind == uploadNone); err != nil || u.kind != uploadWhole {
		return err
	}
	if err := c.WriteBody(u.body, false); err != nil {
		return err
	}
	return c.End(nil)
}

// discard ends a link that failed. An upload to it notices, and goes on
// without it for as long as the client may need to see why.
func (f *forwarder) discard(x *exchange, k link) {
	x.waits.in(nil)
	x.link = nil
	k.release(false)
}

// explain says what became of a try: to the balancer (see Balancer) and to the
// client. unsent says that nothing was sent, or that the backend has begun nothing.
func (f *forwarder) explain(x *exchange, unsent bool, err error) (blame, told error) {
	if left := x.left(); left != nil {
		return x.untaught(), left
	}
	var own *failure
	if errors.As(err, &own) && own.status == statusClientGone {
		return x.untaught(), own
	}
	if errors.Is(err, http2.ErrNoMemory) {
		return nil, errNoMemory // its client did not read
	}
	if errors.Is(err, http2.ErrNoTunnel) {
		return nil, fmt.Errorf("%w: %w", errNoTunnel, err)
	}
	if errors.Is(err, errBodyLost) {
		return context.Canceled, fmt.Errorf("%w: %w", errBackendBroken, err) // of the connection before
	}
	if unsent && isShortage(err) {
		f.server.noteShortage(inBackend, &f.shortages, err, "pool", f.Name)
		return context.Canceled, fmt.Errorf("%w: %w: %w", errUnsent, errShortage, err)
	}
	cause := errBackendBroken
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout(), errors.Is(err, context.DeadlineExceeded):
		cause = errConnectSlow
	case op != nil && op.Op == "dial":
		cause = errUnreachable
	case isTimeout(err) && errors.Is(err, errWithin):
		cause = errBackendSilent
	case isTimeout(err):
		cause = errResponseSlow
	}
	f.blames.note(x.backend, cause, err)
	told = fmt.Errorf("%w: %w", cause, err)
	switch {
	case unsent:
		return err, fmt.Errorf("%w: %w", errUnsent, told)
	case x.isResendable():
		return told, fmt.Errorf("%w: %w", errResend, told)
	}
	return told, told
}

// untaught is what a balancer is told of a try that its client left: a backend that has
// responded did its part, and of another one nothing was learnt.
func (x *exchange) untaught() error {
	if x.status != 0 || x.tunnel != nil {
		return nil
	}
	return context.Canceled
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
