package http1

import (
	"net/http"

	"sallyport/proxy/message"
)

// status writes a status line.
func (o *output) status(r *message.Response) {
	o.string("HTTP/1.1 ")
	o.number(int64(r.Status), 10)
	o.string(" ")
	if len(r.Reason) > 0 {
		o.bytes(r.Reason)
	} else {
		o.string(http.StatusText(r.Status))
	}
	o.string("\r\n")
}

// Refuse answers a request that Next refused, and closes the connection.
func (c *ServerConn) Refuse(e *Error) {
	text := http.StatusText(e.Status)
	o := &c.out
	o.status(&message.Response{Status: e.Status})
	o.string("Date: ")
	o.bytes(message.Now())
	o.string("\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n")
	o.string("Cache-Control: no-store\r\nContent-Length: ")
	o.number(int64(len("400 \n")+len(text)), 10)
	o.string("\r\nConnection: close\r\n\r\n")
	o.number(int64(e.Status), 10)
	o.string(" ")
	o.string(text)
	o.string("\n")
	if o.flush() == nil {
		c.linger()
	}
	c.Close()
}
