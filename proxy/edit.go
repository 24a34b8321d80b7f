package proxy

import (
	"slices"

	"sallyport/proxy/message"
)

// editRequest makes of the client's request the one that the backend gets.
func (x *exchange) editRequest() {
	x.out = *x.in
	if x.target != nil {
		x.out.Path = x.target
	}
	x.fields = x.fields[:0]
	edits := x.route.request
	for _, f := range x.in.Fields {
		if edits != nil && edits.drops(f) {
			continue
		}
		if x.forwards != noForwards && f.Is(maxForwardsName) {
			f = x.forwardedOnceMore(f)
		}
		if f.ID == message.Other && !mayClaim(f.Name) {
			x.fields = append(x.fields, f) // as most are
			continue
		}
		x.passOn(f)
	}
	if x.conn.peer.trusted {
		// What a proxy in front has set does not go because its client named it.
		for _, f := range x.in.Named {
			if !edits.drops(f) {
				x.passOn(f)
			}
		}
	}
	x.appendForwarded()
	x.addField(xRequestID, x.requestID)
	if !edits.hidesVia() {
		x.addField(via, x.server.via.of(x.in.Major, x.in.Minor))
	}
	x.fields = edits.appendTo(x.fields)
	x.out.Fields = x.fields
}

// passOn adds a field of the client's, unless it is written anew here. Proxy never
// passes: CGI makes HTTP_PROXY of it, which programs take for their own setting.
func (x *exchange) passOn(f message.Field) {
	switch {
	case f.ID == message.Proxy:
	case !isClaim(f):
		x.fields = append(x.fields, f)
	case x.conn.peer.trusted && f.ID == message.Other && !hasUnderscore(f.Name) && (!f.Is("x-real-ip") || isNode(f.Value)):
		x.fields = append(x.fields, f) // X-Real-IP and the like, by those who may say so
	}
}

// editAnswer makes of the backend's answer the one that the client gets.
func (x *exchange) editAnswer(head *message.Response) *message.Response {
	x.head = *head
	x.answer = x.answer[:0]
	edits := x.route.response
	for i := range head.Fields {
		f := &head.Fields[i]
		if edits != nil && edits.drops(*f) || f.ID != message.Other && x.isOwn(f.ID) {
			continue
		}
		x.answer = append(x.answer, *f)
	}
	if !edits.hidesVia() {
		x.answerField(via, x.server.via.of(x.route.pool.version()))
	}
	x.answer = edits.appendTo(x.answer)
	x.ownAnswer()
	x.head.Fields = x.answer
	return &x.head
}

// editInterim takes out of an interim response what the route takes out of its others.
func (x *exchange) editInterim(head *message.Response) *message.Response {
	edits := x.route.response
	if !slices.ContainsFunc(head.Fields, edits.drops) {
		return head
	}
	x.head = *head
	x.answer = x.answer[:0]
	for _, f := range head.Fields {
		if !edits.drops(f) {
			x.answer = append(x.answer, f)
		}
	}
	x.head.Fields = x.answer
	return &x.head
}

// isOwn says whether ownAnswer replaces a field.
func (x *exchange) isOwn(id message.FieldID) bool {
	switch id {
	case message.XRequestID:
		return !x.listener.HideRequestID
	case message.StrictTransportSecurity:
		return x.hsts() != nil
	}
	return false
}

// hsts is what the answer says of its site, nil for nothing: there is no site, it
// has nothing to say, or the client is not on HTTPS yet (RFC 6797 §7.2).
func (x *exchange) hsts() []byte {
	if x.site == nil || x.listener.Redirect != nil {
		return nil
	}
	return x.site.hsts
}

// ownAnswer adds the fields that all answers have: X-Request-ID, the site's
// Strict-Transport-Security, and the Date that a server with a clock owes (RFC
// 9110 §6.6.1) unless there is one.
func (x *exchange) ownAnswer() {
	if !isDated(x.answer) {
		x.answerField(date, message.Now())
	}
	if !x.listener.HideRequestID {
		x.answerField(xRequestID, x.requestID)
	}
	if value := x.hsts(); value != nil {
		x.answerField(hsts, value)
	}
}

func isDated(fields []message.Field) bool {
	for i := range fields {
		if fields[i].ID == message.Date {
			return true
		}
	}
	return false
}

// answerField adds a field to the answer.
func (x *exchange) answerField(n ownName, value []byte) {
	x.answer = append(x.answer, message.Field{ID: n.id, Name: n.name, Value: value})
}

func hasUnderscore(name []byte) bool {
	for _, c := range name {
		if c == '_' {
			return true
		}
	}
	return false
}

// ownName is the name of a field that is written here.
type ownName struct {
	id   message.FieldID
	name []byte
}

var (
	allow           = ownName{message.Other, []byte("Allow")}
	date            = ownName{message.Date, []byte("Date")}
	forwarded       = ownName{message.Forwarded, []byte("Forwarded")}
	via             = ownName{message.Via, []byte("Via")}
	xForwardedFor   = ownName{message.XForwardedFor, []byte("X-Forwarded-For")}
	xForwardedHost  = ownName{message.XForwardedHost, []byte("X-Forwarded-Host")}
	xForwardedProto = ownName{message.XForwardedProto, []byte("X-Forwarded-Proto")}
	hsts            = ownName{message.StrictTransportSecurity, []byte("Strict-Transport-Security")}
	xRequestID      = ownName{message.XRequestID, []byte("X-Request-ID")}
)

// addField adds a field to the request that is sent on.
func (x *exchange) addField(n ownName, value []byte) {
	x.fields = append(x.fields, message.Field{ID: n.id, Name: n.name, Value: value})
}

// store joins parts in the arena.
func (x *exchange) store(parts ...[]byte) []byte {
	start := len(x.arena)
	for _, p := range parts {
		x.arena = append(x.arena, p...)
	}
	return x.arena[start:len(x.arena):len(x.arena)]
}
