package proxy

import (
	"errors"
	"fmt"
	"io"
	"time"

	"sallyport/proxy/message"
)

// answer passes the backend's answer on.
func (f *forwarder) answer(x *exchange, k link, head *message.Response) (blame, err error) {
	if head.Status == 101 {
		return f.switchProtocols(x, k, head)
	}
	if x.unswitched(head) {
		f.discard(x, k)
		return nil, fmt.Errorf("%w: %w", errNoTunnel, errUnswitched)
	}
	err = x.relay(k, head)
	x.loan.Free()
	if x.link != nil { // else it was released before the client got the last of the response
		x.waits.in(nil)
		if err == nil {
			x.joinUpload(uploadGrace) // a backend has mostly got the body before it responds
		}
		x.link = nil
		k.release(err == nil)
	}
	if err == nil {
		return nil, nil
	}
	return f.explain(x, false, err)
}

// begins notes that a response that can be passed on has begun.
func (x *exchange) begins(status int) {
	x.status = status
	if told := x.route.pool.responded; told != nil {
		told(x.ticket)
	}
}

// uploadGrace is for the last bytes of a body whose answer is there already. A
// connection to which some is still sent afterwards serves nothing else.
const uploadGrace = 20 * time.Millisecond

// relay passes a response's head and body on as they come. What has come of the body with
// the head is looked at first: where that is broken, the client gets an error instead of
// half a response. The link is released as soon as all has come.
func (x *exchange) relay(k link, head *message.Response) error {
	end := head.Bodiless || head.Length == 0
	length, body := head.Length, k.Body()
	out := x.editAnswer(head)
	var buffer freight
	defer buffer.free()
	n, whole, err := 0, end, error(nil)
	if !end {
		if n, whole, err = preview(body, &buffer); err != nil {
			return err
		}
	}
	x.begins(out.Status)
	var trailers []message.Field
	if whole {
		trailers = x.answerTrailers(body.Trailers())
		x.complete(k)
	}
	if err := x.client.WriteHead(out, end); err != nil || end {
		return x.written(err)
	}
	if whole {
		return x.writeLast(buffer.filled(n), trailers)
	}
	if err := x.client.WriteBody(buffer.filled(n), !ready(body)); err != nil { // the head need not wait for more
		return x.writeFailed(err)
	}
	x.bytesOut += int64(n)
	buffer.free()
	buffer = freightOf(length, ready(body))
	return x.relayRest(k, body, &buffer)
}

// relayRest passes on what is left of a body.
func (x *exchange) relayRest(k link, body message.Body, buffer *freight) error {
	for {
		if err := x.awaitRoom(buffer); err != nil {
			return x.writeFailed(err)
		}
		n, err := body.Read(buffer.room())
		switch {
		case err == io.EOF:
			trailers := x.answerTrailers(body.Trailers())
			x.complete(k)
			return x.writeLast(nil, trailers)
		case err != nil:
			x.breakOffLike(err)
			return fmt.Errorf("%w: %w", errWithin, err)
		case isWhole(body):
			x.complete(k)
			return x.writeLast(buffer.room()[:n], nil)
		}
		if err := x.client.WriteBody(buffer.room()[:n], !ready(body)); err != nil {
			return x.writeFailed(err)
		}
		x.bytesOut += int64(n)
		buffer.carried(n)
	}
}

// preview reads what has come of a body, as far as buffer has room.
func preview(body message.Body, buffer *freight) (n int, whole bool, err error) {
	r, ok := body.(interface{ Ready() bool })
	if !ok {
		return 0, false, nil
	}
	w, _ := body.(wholeness)
	for r.Ready() && n < len(buffer.room()) {
		m, err := body.Read(buffer.room()[n:])
		n += m
		if err != nil {
			return n, err == io.EOF, ignoreEOF(err)
		}
		if w != nil && w.Whole() {
			return n, true, nil
		}
	}
	return n, false, nil
}

// wholeness is a body that says when it has come as a whole.
type wholeness interface{ Whole() bool }

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// isWhole reports whether a body of known length has come as a whole, with nothing behind it.
func isWhole(b message.Body) bool {
	w, ok := b.(wholeness)
	return ok && w.Whole()
}

// complete notes that the response has come as a whole, and releases its link where that can be
// done before it has been written.
func (x *exchange) complete(k link) {
	if x.upload.kind == uploadStream {
		x.upload.over.Store(true)
	}
	if f, ok := k.(finisher); ok {
		f.finish(x)
	}
}

// writeLast writes the last of a response.
func (x *exchange) writeLast(p []byte, trailers []message.Field) error {
	if len(p) > 0 {
		if err := x.client.WriteBody(p, false); err != nil {
			return x.writeFailed(err)
		}
		x.bytesOut += int64(len(p))
	}
	return x.written(x.client.End(trailers))
}

// written makes of an error in writing to the client what is said of it.
func (x *exchange) written(err error) error {
	if err != nil {
		return x.writeFailed(err)
	}
	return nil
}

// freightOf is what an answer begins with. It may be slow to come, even where
// some has come.
func freightOf(length int64, come bool) freight {
	switch {
	case length >= 0 && length <= int64(freightSizes[0]):
		return freight{class: 0}
	case come:
		return freight{class: 2}
	}
	return freight{class: 1}
}

// awaitRoom waits until the client takes more of a long body, where the protocol can
// tell, and holds no memory for it meanwhile.
func (x *exchange) awaitRoom(f *freight) error {
	r, ok := x.client.(interface{ AwaitRoom() (int, error) })
	if !ok || f.class == 0 {
		return nil
	}
	f.free()
	n, err := r.AwaitRoom()
	f.fit(n)
	return err
}

// errWithin marks what went wrong within an answer.
var errWithin = errors.New("within the answer")

// writeFailed is the client's fault in writing to it.
func (x *exchange) writeFailed(err error) error {
	x.breakOff()
	switch {
	case x.server.cut.Load():
		return errCut
	case isTimeout(err):
		return errReaderSlow
	}
	return errClientGone
}
