package proxy

import (
	"slices"

	"sallyport/proxy/message"
)

// requestTrailers are those that the backend gets. Where a request came from is said in its
// head, whoever says it: some backends add the trailers to that.
func (x *exchange) requestTrailers(trailers []message.Field) []message.Field {
	return x.route.request.trailers(trailers)
}

// answerTrailers are those that the client gets.
func (x *exchange) answerTrailers(trailers []message.Field) []message.Field {
	return x.route.response.trailers(trailers)
}

// trailers are those that go on: of them too a route removes what it removes or sets.
func (e *fieldEdits) trailers(trailers []message.Field) []message.Field {
	if len(trailers) == 0 {
		return nil
	}
	drops := func(f message.Field) bool { return !f.MayTrail() || isClaim(f) || e.drops(f) }
	if !slices.ContainsFunc(trailers, drops) {
		return trailers
	}
	return slices.DeleteFunc(slices.Clone(trailers), drops)
}
