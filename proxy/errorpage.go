package proxy

import (
	"fmt"
	"net/http"
	"strconv"

	"sallyport/proxy/message"
)

// ErrorPage is what clients see of an error that was made here, in place of its
// status in plain text. Backends' own answers are never replaced.
type ErrorPage struct {
	Status      int // 400 to 599
	ContentType string
	Body        []byte
}

// ErrorStatuses are those of errors that are made here, and can have a page. What
// the codecs refuse has none.
var ErrorStatuses = []int{400, 404, 405, 408, 413, 421, 500, 502, 503, 504, 508}

// errorPage is an ErrorPage made ready.
type errorPage struct {
	kind message.Field // Content-Type
	body []byte
}

// newErrorPages returns a site's pages by status.
func newErrorPages(pages []ErrorPage) (map[int]*errorPage, error) {
	all := map[int]*errorPage{}
	for _, p := range pages {
		if p.Status < 400 || p.Status > 599 || all[p.Status] != nil {
			return nil, fmt.Errorf("error page for %d: not the status of an error, or listed twice", p.Status)
		}
		kind := Field{"Content-Type", p.ContentType}
		if err := (FieldEdits{Set: []Field{kind}}).check(); err != nil || p.ContentType == "" {
			return nil, fmt.Errorf("error page for %d: %q is not a content type", p.Status, p.ContentType)
		}
		all[p.Status] = &errorPage{contentType(p.ContentType), p.Body}
	}
	return all, nil
}

// pageFor is what is answered for a failure: the site's page, or its status in
// plain text.
func (x *exchange) pageFor(f *failure) *errorPage {
	if x.site != nil {
		if page := x.site.errorPages[f.status]; page != nil {
			return page
		}
	}
	text := strconv.AppendInt(nil, int64(f.status), 10)
	text = append(append(append(text, ' '), http.StatusText(f.status)...), '\n')
	return &errorPage{plainText, text}
}

var plainText = contentType("text/plain; charset=utf-8")

func contentType(value string) message.Field {
	return message.Field{Name: []byte("Content-Type"), Value: []byte(value)}
}
