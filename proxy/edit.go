package proxy

import "sallyport/proxy/message"

// editRequest makes of the client's request the one that the backend gets.
func (x *exchange) editRequest() {
	x.out = *x.in
	x.fields = x.fields[:0]
	for _, f := range x.in.Fields {
		if !isClaim(f) {
			x.fields = append(x.fields, f)
		} else if x.conn.peer.trusted && f.ID == message.Other && !hasUnderscore(f.Name) {
			x.fields = append(x.fields, f) // X-Real-IP and the like, by those who may say so
		}
	}
	x.appendForwarded()
	x.out.Fields = x.fields
}

// editAnswer makes of the backend's answer the one that the client gets.
func (x *exchange) editAnswer(head *message.Response) *message.Response {
	x.head = *head
	x.answer = x.answer[:0]
	dated := false
	for _, f := range head.Fields {
		dated = dated || f.ID == message.Date
		x.answer = append(x.answer, f)
	}
	if !dated {
		x.dateAnswer()
	}
	x.head.Fields = x.answer
	return &x.head
}

// dateAnswer adds the Date that a server with a clock owes (RFC 9110 §6.6.1).
func (x *exchange) dateAnswer() {
	x.answer = append(x.answer, message.Field{ID: date.id, Name: date.name, Value: message.Now()})
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
	date            = ownName{message.Date, []byte("Date")}
	forwarded       = ownName{message.Forwarded, []byte("Forwarded")}
	xForwardedFor   = ownName{message.XForwardedFor, []byte("X-Forwarded-For")}
	xForwardedHost  = ownName{message.XForwardedHost, []byte("X-Forwarded-Host")}
	xForwardedProto = ownName{message.XForwardedProto, []byte("X-Forwarded-Proto")}
)

// addField adds a field to what is sent on.
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
