package http1

import (
	"errors"
	"strings"
	"testing"
)

const (
	get  = "GET / HTTP/1.1\r\n"
	post = "POST / HTTP/1.1\r\n"
	host = "Host: a\r\n"
	crlf = "\r\n"
)

// fields makes requests that differ by field lines alone.
func fields(lines string) string     { return get + host + lines + crlf }
func postFields(lines string) string { return post + host + lines + crlf }
func target(t string) string         { return "GET " + t + " HTTP/1.1\r\n" + host + crlf }
func hostOf(h string) string         { return get + "Host: " + h + crlf + crlf }
func chunked(body string) string     { return postFields("Transfer-Encoding: chunked\r\n") + body }

// requests are what comes from clients. want is what the backend must see, in
// Unix lines: the request as it is sent on. Or it is a status, of the refusal, and
// a backend must see nothing; "…" behind it says that it may see a request that breaks
// off, because it was the body that was refused.
var requests = []struct{ name, raw, want string }{
	// Request lines.
	{"plain", fields(""), "GET / HTTP/1.1\nHost: a\n\n"},
	{"one empty line before", crlf + fields(""), "GET / HTTP/1.1\nHost: a\n\n"},
	{"two empty lines before", crlf + crlf + fields(""), "400"},
	{"bare LF before", "\n" + fields(""), "400"},
	{"space before", " " + fields(""), "400"},
	{"NUL before", "\x00" + fields(""), "400"},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"},
	{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
	{"HTTP/0.9", "GET /\r\n", "400"},
	{"HTTP/0.9 with a space", "GET / \r\n\r\n", "400"},
	{"HTTP/1.2", "GET / HTTP/1.2\r\n" + host + crlf, "GET / HTTP/1.1\nHost: a\n\n"},
	{"HTTP/1.9 without Host", "GET / HTTP/1.9\r\n\r\n", "400"},
	{"HTTP/2.0", "GET / HTTP/2.0\r\n" + host + crlf, "505"},
	{"HTTP/0.9 by name", "GET / HTTP/0.9\r\n" + host + crlf, "505"},
	{"HTTP/3", "GET / HTTP/3\r\n" + host + crlf, "400"},
	{"HTTP/1.10", "GET / HTTP/1.10\r\n" + host + crlf, "400"},
	{"HTTP/01.1", "GET / HTTP/01.1\r\n" + host + crlf, "400"},
	{"HTTP/1,1", "GET / HTTP/1,1\r\n" + host + crlf, "400"},
	{"http/1.1", "GET / http/1.1\r\n" + host + crlf, "400"},
	{"version with a space behind", "GET / HTTP/1.1 \r\n" + host + crlf, "400"},
	{"version with a tab before", "GET /\tHTTP/1.1\r\n" + host + crlf, "400"},
	{"two spaces before the target", "GET  / HTTP/1.1\r\n" + host + crlf, "400"},
	{"two spaces before the version", "GET /  HTTP/1.1\r\n" + host + crlf, "400"},
	{"tab behind the method", "GET\t/ HTTP/1.1\r\n" + host + crlf, "400"},
	{"bare LF", "GET / HTTP/1.1\n" + host + crlf, "400"},
	{"bare CR", "GET / HTTP/1.1\r" + host + crlf, "400"},
	{"CR CR LF", "GET / HTTP/1.1\r\r\n" + host + crlf, "400"},
	{"no method", " / HTTP/1.1\r\n" + host + crlf, "400"},
	{"method with a colon", "GE:T / HTTP/1.1\r\n" + host + crlf, "400"},
	{"method with a bracket", "G(T / HTTP/1.1\r\n" + host + crlf, "400"},
	{"method not ASCII", "G\xc3\x89T / HTTP/1.1\r\n" + host + crlf, "400"},
	{"method too long", strings.Repeat("A", 33) + " / HTTP/1.1\r\n" + host + crlf, "400"},
	{"method in lower case is another", "get / HTTP/1.1\r\n" + host + crlf, "get / HTTP/1.1\nHost: a\n\n"},
	{"method unknown", "PURGE / HTTP/1.1\r\n" + host + crlf, "PURGE / HTTP/1.1\nHost: a\n\n"},
	{"method of odd token characters", "A!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" + host + crlf, "A!#$%&'*+-.^_`|~ / HTTP/1.1\nHost: a\n\n"},

	// Targets.
	{"path and query", target("/a/b;c=d?e=f&g"), "GET /a/b;c=d?e=f&g HTTP/1.1\nHost: a\n\n"},
	{"path with all that is allowed", target("/-._~!$&'()*+,;=:@%41[]|"), "GET /-._~!$&'()*+,;=:@%41[]| HTTP/1.1\nHost: a\n\n"},
	{"query with all that browsers send", target("/?a[]=1&b={}^`|\\/?:@%"), "GET /?a[]=1&b={}^`|\\/?:@% HTTP/1.1\nHost: a\n\n"},
	{"empty query", target("/?"), "GET /? HTTP/1.1\nHost: a\n\n"},
	{"two slashes", target("//b/c"), "GET //b/c HTTP/1.1\nHost: a\n\n"},
	{"dots", target("/../a"), "GET /../a HTTP/1.1\nHost: a\n\n"}, // the proxy refuses those
	{"encoded NUL", target("/%00"), "GET /%00 HTTP/1.1\nHost: a\n\n"},
	{"fragment", target("/a#b"), "400"},
	{"fragment in a query", target("/?a#b"), "400"},
	{"space", target("/a b"), "400"},
	{"tab", target("/a\tb"), "400"},
	{"NUL", target("/a\x00b"), "400"},
	{"DEL", target("/a\x7fb"), "400"},
	{"not ASCII", target("/\xc3\xa9"), "GET /%C3%A9 HTTP/1.1\nHost: a\n\n"},
	{"not ASCII in a query", target("/?q=\xc3\xa9\xff"), "GET /?q=%C3%A9%FF HTTP/1.1\nHost: a\n\n"},
	{"quote", target(`/"`), "GET /%22 HTTP/1.1\nHost: a\n\n"},
	{"quotes in a query", target(`/v?key="apple"`), "GET /v?key=%22apple%22 HTTP/1.1\nHost: a\n\n"},
	{"less than", target("/<script>"), "GET /%3Cscript%3E HTTP/1.1\nHost: a\n\n"},
	{"less than in a query", target("/?<script>"), "GET /?%3Cscript%3E HTTP/1.1\nHost: a\n\n"},
	{"backslash", target(`/a\b?\`), "GET /a%5Cb?\\ HTTP/1.1\nHost: a\n\n"},
	{"brace", target("/{a}"), "GET /{a} HTTP/1.1\nHost: a\n\n"},
	{"backquote", target("/`"), "GET /` HTTP/1.1\nHost: a\n\n"},
	{"caret", target("/^"), "GET /^ HTTP/1.1\nHost: a\n\n"},
	{"broken escape beside what is encoded", target(`/"%2`), "400"},
	{"percent at the end", target("/a%"), "400"},
	{"percent with one digit", target("/a%2"), "400"},
	{"percent with one digit before the query", target("/a%2?b"), "400"},
	{"percent with other letters", target("/a%2g"), "400"},
	{"no slash", target("a"), "400"},
	{"only a query", target("?a"), "400"},
	{"dot", target("."), "400"},
	{"asterisk of GET", target("*"), "400"},
	{"asterisk of OPTIONS", "OPTIONS * HTTP/1.1\r\n" + host + crlf, "OPTIONS * HTTP/1.1\nHost: a\n\n"},
	{"two asterisks", "OPTIONS ** HTTP/1.1\r\n" + host + crlf, "400"},
	{"too long", target("/" + strings.Repeat("a", 64<<10)), "414"},
	{"too long and endless", "GET /" + strings.Repeat("a", 66<<10), "414"},
	{"long", target("/" + strings.Repeat("a", 60_000)), "GET /" + strings.Repeat("a", 60_000) + " HTTP/1.1\nHost: a\n\n"},
	{"as long as may be", target("/" + strings.Repeat("a", 64<<10-len("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))), "GET /" + strings.Repeat("a", 64<<10-len("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) + " HTTP/1.1\nHost: a\n\n"},
	{"as long as may be without the fields", target("/" + strings.Repeat("a", 64<<10-len("GET / HTTP/1.1\r\n"))), "431"},
	{"one longer", target("/" + strings.Repeat("a", 64<<10-len("GET / HTTP/1.1\r\n")+1)), "414"},
	{"no method and endless", strings.Repeat("A", 66<<10), "400"},
	{"absolute", target("http://a/b?c"), "GET /b?c HTTP/1.1\nHost: a\n\n"},
	{"absolute by https", target("https://a/b"), "421"},
	{"absolute by https to another authority", target("https://b/"), "400"},
	{"absolute in capitals", target("HTTP://A/b"), "GET /b HTTP/1.1\nHost: a\n\n"},
	{"absolute without a path", target("http://a"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"absolute with only a query", target("http://a?b"), "GET /?b HTTP/1.1\nHost: a\n\n"},
	{"absolute of OPTIONS without a path", "OPTIONS http://a HTTP/1.1\r\n" + host + crlf, "OPTIONS * HTTP/1.1\nHost: a\n\n"},
	{"absolute of another authority", target("http://b/"), "400"},
	{"absolute with a port that Host has not", target("http://a:80/"), "400"},
	{"absolute with userinfo", target("http://u@a/"), "400"},
	{"absolute without an authority", target("http:///b"), "400"},
	{"absolute by ftp", target("ftp://a/"), "400"},
	{"absolute without slashes", target("http:a"), "400"},
	{"absolute with a fragment", target("http://a/#b"), "400"},
	{"absolute in HTTP/1.0", "GET http://b/c HTTP/1.0\r\n\r\n", "GET /c HTTP/1.1\nHost: b\n\n"},
	{"absolute in HTTP/1.0 of another authority", "GET http://b/c HTTP/1.0\r\n" + host + crlf, "400"},
	{"authority of GET", target("a:80"), "400"},

	// Host.
	{"no Host", get + crlf, "400"},
	{"no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\nHost: \n\n"},
	{"two Hosts", get + host + host + crlf, "400"},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" + host + host + crlf, "400"},
	{"empty Host", hostOf(""), "400"},
	{"Host with a port", hostOf("a.example:8443"), "GET / HTTP/1.1\nHost: a.example:8443\n\n"},
	{"Host with an empty port", hostOf("a:"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"Host with two colons", hostOf("a::"), "400"},
	{"absolute with an empty port", target("http://a:/"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"Host with a port too large", hostOf("a:65536"), "400"},
	{"Host with a port of six digits", hostOf("a:000080"), "400"},
	{"Host with a port that is none", hostOf("a:b"), "400"},
	{"Host with only a port", hostOf(":80"), "400"},
	{"Host with two ports", hostOf("a:80:80"), "400"},
	{"Host of IPv4", hostOf("192.0.2.1:80"), "GET / HTTP/1.1\nHost: 192.0.2.1:80\n\n"},
	{"Host of IPv6", hostOf("[2001:db8::1]:80"), "GET / HTTP/1.1\nHost: [2001:db8::1]:80\n\n"},
	{"Host of IPv6 without brackets", hostOf("2001:db8::1"), "400"},
	{"Host of IPv6 that is not closed", hostOf("[2001:db8::1"), "400"},
	{"Host of IPv6 with a zone", hostOf("[fe80::1%25eth0]"), "400"},
	{"Host of brackets", hostOf("[]"), "400"},
	{"Host with text behind brackets", hostOf("[::1]a"), "400"},
	{"Host with an underscore", hostOf("a_b"), "GET / HTTP/1.1\nHost: a_b\n\n"},
	{"Host with a dot behind", hostOf("a."), "GET / HTTP/1.1\nHost: a.\n\n"},
	{"Host with userinfo", hostOf("u@a"), "400"},
	{"Host with a path", hostOf("a/b"), "400"},
	{"Host that is a list", hostOf("a,b"), "400"},
	{"Host of two words", hostOf("a b"), "400"},
	{"Host not ASCII", hostOf("\xc3\xa9"), "400"},
	{"Host with a percent sign", hostOf("a%2eb"), "400"},
	{"Host too long", hostOf(strings.Repeat("a", 300)), "400"},
	{"Host with space around", hostOf("  a\t"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"Host that comes late goes first", get + "X: 1\r\n" + host + crlf, "GET / HTTP/1.1\nHost: a\nX: 1\n\n"},

	// Field lines.
	{"order and case are kept", fields("b: 1\r\nA: 2\r\nb: 3\r\n"), "GET / HTTP/1.1\nHost: a\nb: 1\nA: 2\nb: 3\n\n"},
	{"white space around a value", fields("X: \t y z\t \r\n"), "GET / HTTP/1.1\nHost: a\nX: y z\n\n"},
	{"no white space", fields("X:y\r\n"), "GET / HTTP/1.1\nHost: a\nX: y\n\n"},
	{"empty value", fields("X:\r\n"), "GET / HTTP/1.1\nHost: a\nX: \n\n"},
	{"value not ASCII", fields("X: \xc3\xa9\xff\r\n"), "GET / HTTP/1.1\nHost: a\nX: \xc3\xa9\xff\n\n"},
	{"value with a tab", fields("X: a\tbbbbbbbbbbb\r\n"), "GET / HTTP/1.1\nHost: a\nX: a\tbbbbbbbbbbb\n\n"},
	{"value with a colon", fields("X: a:b\r\n"), "GET / HTTP/1.1\nHost: a\nX: a:b\n\n"},
	{"value with NUL", fields("X: a\x00b\r\n"), "400"},
	{"value with NUL far behind", fields("X: 0123456789\x00\r\n"), "400"},
	{"value with ESC", fields("X: \x1b[31m\r\n"), "400"},
	{"value with DEL", fields("X: \x7f\r\n"), "400"},
	{"value with DEL far behind", fields("X: 01234\x7f6789\r\n"), "400"},
	{"value with a bare CR", fields("X: a\rb\r\n"), "400"},
	{"value with a bare CR at its end", fields("X: a\r\r\n"), "400"},
	{"bare LF between fields", fields("X: a\nY: b\r\n"), "400"},
	{"bare LF at the end of the head", get + host + "\n", "400"},
	{"bare LF twice", "GET / HTTP/1.1\nHost: a\n\n", "400"},
	{"folded", fields("X: a\r\n b\r\n"), "400"},
	{"folded by a tab", fields("X: a\r\n\tb\r\n"), "400"},
	{"folded first", get + " X: a\r\n" + host + crlf, "400"},
	{"folded with only white space", fields("X: a\r\n \r\n"), "400"},
	{"space before the colon", fields("X : a\r\n"), "400"},
	{"tab before the colon", fields("X\t: a\r\n"), "400"},
	{"space before the colon of a length", postFields("Content-Length : 2\r\n") + "hi", "400"},
	{"no name", fields(": a\r\n"), "400"},
	{"no colon", fields("X\r\n"), "400"},
	{"name of two words", fields("X Y: a\r\n"), "400"},
	{"name with a slash", fields("X/Y: a\r\n"), "400"},
	{"name with a bracket", fields("X(: a\r\n"), "400"},
	{"name with NUL", fields("X\x00: a\r\n"), "400"},
	{"name not ASCII", fields("\xc3\xa9: a\r\n"), "400"},
	{"name with an underscore", fields("X_Y: a\r\n"), "400"},
	{"length with an underscore", postFields("Content_Length: 2\r\n"), "400"},
	{"too many fields", fields(strings.Repeat("X: 1\r\n", 100)), "431"},
	{"as many fields as may be", fields(strings.Repeat("X: 1\r\n", 99)), "GET / HTTP/1.1\nHost: a\n" + strings.Repeat("X: 1\n", 99) + "\n"},
	{"head too long", fields("X: " + strings.Repeat("a", 64<<10) + crlf), "431"},
	{"head too long and endless", get + host + "X: " + strings.Repeat("a", 65<<10), "431"},
	{"large head", fields("X: " + strings.Repeat("a", 60<<10) + crlf), "GET / HTTP/1.1\nHost: a\nX: " + strings.Repeat("a", 60<<10) + "\n\n"},

	// What belongs to the connection.
	{"hop by hop", fields("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nProxy-Authenticate: y\r\nX: 1\r\n"), "GET / HTTP/1.1\nHost: a\nX: 1\n\n"},
	{"options name fields", fields("X: 1\r\nConnection: x, keep-alive\r\nY: 2\r\nConnection: y\r\nZ: 3\r\nx: 4\r\n"), "GET / HTTP/1.1\nHost: a\nZ: 3\n\n"},
	{"options name what frames", postFields("Connection: content-length, host\r\nContent-Length: 2\r\n") + "hi", "POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi"},
	{"options name what is end to end", fields("Connection: authorization, X-Forwarded-For, x-hop, Content-Type\r\nX-Hop: 1\r\nAuthorization: a\r\nX-Forwarded-For: b\r\nContent-Type: c\r\n"), "GET / HTTP/1.1\nHost: a\nAuthorization: a\nX-Forwarded-For: b\nContent-Type: c\n\n"},
	{"empty options", fields("Connection: , ,,\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"too many options", fields("Connection: " + strings.Repeat("x,", 17) + "\r\n"), "400"},
	{"TE trailers", fields("TE: gzip, trailers\r\nConnection: TE\r\n"), "GET / HTTP/1.1\nHost: a\nConnection: TE\nTE: trailers\n\n"},
	{"TE of another coding", fields("TE: gzip\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"websocket", fields("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nX: 1\r\n"), "GET / HTTP/1.1\nHost: a\nX: 1\nConnection: Upgrade\nUpgrade: websocket\n\n"},
	{"websocket without the option", fields("Upgrade: websocket\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"websocket by POST", postFields("Connection: upgrade\r\nUpgrade: websocket\r\n"), "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n"},
	{"websocket with a body", fields("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n") + "hi", "GET / HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi"},
	{"websocket in HTTP/1.0", "GET / HTTP/1.0\r\nConnection: upgrade, keep-alive\r\nUpgrade: websocket\r\n" + host + crlf, "GET / HTTP/1.1\nHost: a\n\n"},
	{"websocket or another", fields("Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"websocket and another", fields("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"h2c", fields("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"unknown expectation", postFields("Expect: 200-ok\r\nContent-Length: 2\r\n") + "hi", "417"},
	{"two expectations", postFields("Expect: 100-continue, x\r\nContent-Length: 2\r\n") + "hi", "417"},
	{"expectation", postFields("Expect: 100-Continue\r\nContent-Length: 2\r\n") + "hi", "POST / HTTP/1.1\nHost: a\nContent-Length: 2\nExpect: 100-continue\n\nhi"},
	{"expectation without a body", fields("Expect: 100-continue\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"expectation in HTTP/1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "POST / HTTP/1.1\nHost: \nContent-Length: 2\n\nhi"},

	// Lengths.
	{"length", postFields("Content-Length: 5\r\n") + "hello", "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello"},
	{"length of zero", postFields("Content-Length: 0\r\n"), "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n"},
	{"length of zero of GET", fields("Content-Length: 0\r\n"), "GET / HTTP/1.1\nHost: a\n\n"},
	{"length of GET", fields("Content-Length: 2\r\n") + "hi", "GET / HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi"},
	{"length with zeros before", postFields("Content-Length: 002\r\n") + "hi", "POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi"},
	{"no length of POST", postFields(""), "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n"},
	{"length with a plus", postFields("Content-Length: +2\r\n") + "hi", "400"},
	{"length with a minus", postFields("Content-Length: -2\r\n") + "hi", "400"},
	{"length in hexadecimal", postFields("Content-Length: 0x2\r\n") + "hi", "400"},
	{"length with a fraction", postFields("Content-Length: 2.0\r\n") + "hi", "400"},
	{"empty length", postFields("Content-Length:\r\n"), "400"},
	{"length of two words", postFields("Content-Length: 2 2\r\n") + "hi", "400"},
	{"length with an underscore within", postFields("Content-Length: 1_0\r\n"), "400"},
	{"length too large", postFields("Content-Length: 99999999999999999999\r\n"), "400"},
	{"two lengths that differ", postFields("Content-Length: 2\r\nContent-Length: 3\r\n") + "hi", "400"},
	{"two lengths that are the same", postFields("Content-Length: 2\r\nContent-Length: 2\r\n") + "hi", "400"},
	{"list of lengths", postFields("Content-Length: 2, 2\r\n") + "hi", "400"},
	{"body cut short", postFields("Content-Length: 5\r\n") + "hi", "…"},

	// Codings.
	{"chunked", chunked("5\r\nhello\r\n0\r\n\r\n"), "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"},
	{"chunked in capitals", postFields("Transfer-Encoding: Chunked\r\n") + "0\r\n\r\n", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\n\n"},
	{"chunked of GET", fields("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", "GET / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\n\n"},
	{"coding and length", postFields("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", "400"},
	{"length and coding", postFields("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n", "400"},
	{"coding and a length of zero", postFields("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n") + "0\r\n\r\n", "400"},
	{"coding in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"coding twice", postFields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", "400"},
	{"coding twice in a list", postFields("Transfer-Encoding: chunked, chunked\r\n") + "0\r\n\r\n", "400"},
	{"coding in a list", postFields("Transfer-Encoding: ,chunked\r\n") + "0\r\n\r\n", "501"},
	{"coding with a comma behind", postFields("Transfer-Encoding: chunked,\r\n") + "0\r\n\r\n", "400"},
	{"gzip and chunked", postFields("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n", "501"},
	{"gzip and chunked by two", postFields("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", "400"},
	{"chunked and gzip", postFields("Transfer-Encoding: chunked, gzip\r\n") + "0\r\n\r\n", "400"},
	{"gzip", postFields("Transfer-Encoding: gzip\r\n"), "400"},
	{"identity", postFields("Transfer-Encoding: identity\r\n"), "400"},
	{"xchunked", postFields("Transfer-Encoding: xchunked\r\n"), "400"},
	{"chunked with a parameter", postFields("Transfer-Encoding: chunked;a=b\r\n"), "400"},
	{"chunked in quotes", postFields("Transfer-Encoding: \"chunked\"\r\n"), "400"},
	{"chunked behind a vertical tab", postFields("Transfer-Encoding: \x0bchunked\r\n"), "400"},
	{"empty coding", postFields("Transfer-Encoding:\r\n"), "400"},

	// Chunks.
	{"chunks", chunked("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n"), "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"},
	{"size in hexadecimal", chunked("0A\r\n0123456789\r\n00\r\n\r\n"), "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\na\n0123456789\n0\n\n"},
	{"extension", chunked("2;a=b;c=\"d e\"\r\nhi\r\n0;x\r\n\r\n"), "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n"},
	{"trailers", chunked("0\r\nX-A: 1\r\nX-B:  2 \r\n\r\n"), "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\nX-A: 1\nX-B: 2\n\n"},
	{"size with a plus", chunked("+2\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size with a minus", chunked("-2\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size with 0x", chunked("0x2\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size with space before", chunked(" 2\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size with space behind", chunked("2 \r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size with space before an extension", chunked("2 ;a\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size with an underscore", chunked("1_0\r\n0123456789abcdef\r\n0\r\n\r\n"), "400…"},
	{"empty size", chunked("\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size that is only an extension", chunked(";a\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size too large", chunked("ffffffffffffffff\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size that overflows to two", chunked("10000000000000002\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"size with too many zeros", chunked("0000000000000000000002\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"bare LF behind a size", chunked("2\nhi\r\n0\r\n\r\n"), "400…"},
	{"bare CR behind a size", chunked("2\rhi\r\n0\r\n\r\n"), "400…"},
	{"bare LF behind a chunk", chunked("2\r\nhi\n0\r\n\r\n"), "400…"},
	{"chunk longer than its size", chunked("2\r\nhix\r\n0\r\n\r\n"), "400…"},
	{"chunk shorter than its size", chunked("3\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"extension with a bare LF", chunked("2;a\nhi\r\n0\r\n\r\n"), "400…"},
	{"extension with NUL", chunked("2;\x00\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"extension too long", chunked("2;" + strings.Repeat("a", 4<<10+1) + "\r\nhi\r\n0\r\n\r\n"), "400…"},
	{"many extensions", chunked(strings.Repeat("1;"+strings.Repeat("a", 100)+"\r\nx\r\n", 41) + "0\r\n\r\n"), "400…"},
	{"bare LF at the end", chunked("2\r\nhi\r\n0\n\n"), "400…"},
	{"trailer of length", chunked("0\r\nContent-Length: 2\r\n\r\n"), "400…"},
	{"trailer of coding", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n"), "400…"},
	{"trailer of Host", chunked("0\r\nHost: b\r\n\r\n"), "400…"},
	{"trailer of forwarding", chunked("0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"), "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\nX-Forwarded-For: 192.0.2.1\n\n"}, // the proxy drops that
	{"trailer with a bare LF", chunked("0\r\nX: 1\n\r\n"), "400…"},
	{"trailer that is folded", chunked("0\r\nX: 1\r\n 2\r\n\r\n"), "400…"},
	{"trailer with an underscore", chunked("0\r\nX_Y: 1\r\n\r\n"), "400…"},
	{"trailers too many", chunked("0\r\n" + strings.Repeat("X: 1\r\n", 101) + "\r\n"), "431…"},
	{"trailers too long", chunked("0\r\nX: " + strings.Repeat("a", 65<<10) + "\r\n\r\n"), "431…"},
	{"large trailers", chunked("0\r\nX: " + strings.Repeat("a", 60<<10) + "\r\n\r\n"), "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\nX: " + strings.Repeat("a", 60<<10) + "\n\n"},

	// CONNECT is for the proxy to refuse; it never gets as far as a backend.
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "502"},
	{"CONNECT to another", "CONNECT b:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "400"},
	{"CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"CONNECT without a port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"CONNECT with a body", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 2\r\n\r\nhi", "400"},
}

func TestRequests(t *testing.T) {
	for _, c := range requests {
		for _, piece := range []int{0, 1, 7} {
			got := serveScript(t, c.raw, piece, answerOK, Config{})
			if err := checkRequestCase(got, c.want, piece); err != nil {
				t.Errorf("%s, %d bytes a read: %v\nclient: %.300q\nbackend: %.300q", c.name, piece, err, got.client, got.backend)
			}
		}
	}
	if len(requests) < 150 {
		t.Errorf("only %d", len(requests))
	}
}

func checkRequestCase(got seen, want string, piece int) error {
	if status, broken := strings.CutSuffix(want, "…"); len(status) <= 3 {
		if len(got.backend) > 0 && !broken && got.backend[0] != "" {
			return errors.New("a backend saw it")
		}
		if status == "" {
			status = "400"
		}
		if !strings.HasPrefix(got.client, "HTTP/1.1 "+status+" ") || !strings.Contains(got.client, "Connection: close\r\n") {
			return errors.New("want " + want)
		}
		if broken && (len(got.backend) != 1 || !strings.HasSuffix(got.backend[0], "…broken") || strings.HasSuffix(got.backend[0], "0\r\n\r\n…broken")) {
			return errors.New("a body that was refused did not break off")
		}
		return nil
	}
	if len(got.backend) != 1 || !strings.HasPrefix(got.client, "HTTP/1.1 200 ") && !strings.HasPrefix(got.client, "HTTP/1.1 100 ") {
		return errors.New("it was refused")
	}
	saw := unixText(got.backend[0])
	if piece > 0 { // a body comes in other chunks then
		saw, want = unchunk(saw), unchunk(want)
	}
	if saw != want {
		return errors.New("the backend saw something else")
	}
	return nil
}

// unchunk leaves of a chunked message, in Unix lines, what does not depend on
// how it was cut.
func unchunk(text string) string {
	head, body, _ := strings.Cut(text, "\n\n")
	if !strings.Contains(head, "Transfer-Encoding: chunked") {
		return text
	}
	var data strings.Builder
	for {
		size, rest, ok := strings.Cut(body, "\n")
		if !ok || size == "0" {
			return head + "\n\n" + data.String() + "0\n" + rest
		}
		chunk, rest, _ := strings.Cut(rest, "\n")
		data.WriteString(chunk)
		body = rest
	}
}

// A target's scheme must be its connection's (RFC 9110 §7.4).
func TestRequests_SchemeOfASecureConnection(t *testing.T) {
	for _, c := range []struct{ target, want string }{
		{"https://a/b", "GET /b HTTP/1.1\nHost: a\n\n"},
		{"HTTPS://A?b", "GET /?b HTTP/1.1\nHost: a\n\n"},
		{"/b", "GET /b HTTP/1.1\nHost: a\n\n"},
		{"http://a/b", "421"},
		{"Http://a", "421"},
		{"http://b/", "400"},
		{"ftp://a/", "400"},
	} {
		got := serveScript(t, target(c.target), 0, answerOK, Config{Secure: true})
		if err := checkRequestCase(got, c.want, 0); err != nil {
			t.Errorf("%s: %v\nclient: %.300q\nbackend: %.300q", c.target, err, got.client, got.backend)
		}
	}
}

func TestRequests_UnderscoresByOption(t *testing.T) {
	got := serveScript(t, fields("X_Y: 1\r\n"), 0, answerOK, Config{Underscores: true})
	if len(got.backend) != 1 || unixText(got.backend[0]) != "GET / HTTP/1.1\nHost: a\nX_Y: 1\n\n" {
		t.Errorf("%q", got.backend)
	}
}
