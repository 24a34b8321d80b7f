package configs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Each struct of the schema validates itself: values, and what holds between its
// own keys. What crosses structs is in here.

func (c *Config) validate(p place) {
	tokens := p.key("hsm").key("tokens")
	c.takePINSources(p.key("sites"), tokens)
	some(tokens, c.HSM.Tokens, "token")
	each(tokens, c.HSM.Tokens, Token.validate)
	distinct(tokens, c.HSM.Tokens, "name", func(t Token) string { return t.Name })
	refuseTwins(tokens, c.HSM.Tokens)

	listeners := p.key("listeners")
	some(listeners, c.Listeners, "listener")
	each(listeners, c.Listeners, Listener.validate)

	each(p.key("redirects"), c.Redirects, Redirect.validate)

	sites := p.key("sites")
	some(sites, c.Sites, "site")
	each(sites, c.Sites, Site.validate)
	distinct(sites, c.Sites, "name", func(s Site) string { return s.Name })

	pools := p.key("pools")
	some(pools, c.Pools, "pool")
	each(pools, c.Pools, Pool.validate)
	distinct(pools, c.Pools, "name", func(p Pool) string { return p.Name })

	c.Admin.validate(p.key("admin"))
	c.Log.validate(p.key("log"))
	c.Limits.validate(p.key("limits"))

	c.checkAddresses(p)
	c.checkHosts(sites)
	c.checkRoutes(sites, pools)
	c.checkKeys(sites, tokens)
}

// checkAddresses finds listeners, redirects and the admin listener among them, of which
// one would bind what another one has.
func (c *Config) checkAddresses(p place) {
	type owner struct{ address, path string }
	var owners []owner
	check := func(at place, address string) {
		if at.isMuted() {
			return
		}
		for _, o := range owners {
			if !overlap(o.address, address) {
				continue
			}
			message := quote(address) + " is already the address of " + o.path
			if o.address != address {
				message += " (" + quote(o.address) + ")"
			}
			at.say(message, "")
			return
		}
		owners = append(owners, owner{address, parent(at.path)})
	}
	for i, l := range c.Listeners {
		check(p.key("listeners").item(i).key("address"), l.Address)
	}
	for i, r := range c.Redirects {
		check(p.key("redirects").item(i).key("address"), r.Address)
	}
	check(p.key("admin").key("address"), c.Admin.Address)
}

// checkHosts finds hosts that are given twice, by one site or by two.
func (c *Config) checkHosts(sites place) {
	type owner struct {
		site int
		path string
	}
	owners := map[string]owner{}
	for i, s := range c.Sites {
		for j, text := range s.Hosts {
			at := sites.item(i).key("hosts").item(j)
			host, err := canonicalHost(text)
			if err != nil || at.isMuted() {
				continue
			}
			first, taken := owners[host]
			switch {
			case !taken:
				owners[host] = owner{i, at.path}
			case first.site == i:
				at.say(fmt.Sprintf("%s is given twice, first as %s", quote(host), first.path), "leave out one of them")
			default:
				at.say(fmt.Sprintf("sites %s and %s share the host %s (%s)",
					quote(c.Sites[first.site].Name), quote(s.Name), quote(host), first.path), "a host belongs to one site")
			}
		}
	}
}

// checkRoutes finds routes that lead nowhere.
func (c *Config) checkRoutes(sites, pools place) {
	names, complete := namesOf(pools, c.Pools, "name", func(p Pool) string { return p.Name })
	if !complete {
		return
	}
	for i, s := range c.Sites {
		for j, r := range s.Routes {
			if r.Pool != "" && !slices.Contains(names, r.Pool) {
				sites.item(i).key("routes").item(j).key("pool").
					say("no pool named "+quote(r.Pool), suggest(r.Pool, names))
			}
		}
	}
}

// checkKeys finds keys on a token that the configuration does not have. A
// token that is not identified by its label may have any, so that nothing can
// be said then. Nothing of a URI is repeated.
func (c *Config) checkKeys(sites, tokens place) {
	labels, complete := namesOf(tokens, c.HSM.Tokens, "token", func(t Token) string { return t.Token })
	if !complete || slices.Contains(labels, "") {
		return
	}
	for i, s := range c.Sites {
		for j, certificate := range s.Certificates {
			label, ok := attributesOf(certificate.Key)["token"]
			if ok && !slices.Contains(labels, label) {
				sites.item(i).key("certificates").item(j).key("key").
					say("names a token that hsm.tokens does not have",
						"tokens by label: "+strings.Join(quoteAll(labels), ", "))
			}
		}
	}
}

// nameSyntax keeps names fit for metrics, logs and the names of files.
var nameSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func checkName(p place, name string) {
	switch {
	case name == "":
		required(p)
	case !nameSyntax.MatchString(name):
		p.say(quote(name)+" is not a name", "up to 63 lower-case letters, digits and hyphens, no hyphen first")
	}
}

func required(p place) { p.say("is required", "") }

// some wants a list that is not empty.
func some[T any](p place, list []T, noun string) {
	if len(list) == 0 {
		p.say("at least one "+noun+" is required", "")
	}
}

// each validates the items of a list.
func each[T any](p place, list []T, validate func(T, place)) {
	for i, item := range list {
		validate(item, p.item(i))
	}
}

// distinct wants a key of a list's items to be different in each.
func distinct[T any](p place, list []T, key string, value func(T) string) {
	first := map[string]string{}
	for i, item := range list {
		at, v := p.item(i).key(key), value(item)
		if v == "" || at.isMuted() {
			continue
		}
		if path, taken := first[v]; taken {
			at.say(fmt.Sprintf("%s is already the %s of %s", quote(v), key, parent(path)), "")
			continue
		}
		first[v] = at.path
	}
}

// oneOf wants one of a few words. The hint has all of them: what is near in letters need
// not be what was meant (http2 is h2c, not http1).
func oneOf(p place, value string, words ...string) {
	if !slices.Contains(words, value) {
		p.say("unknown value "+quote(value), "one of: "+strings.Join(words, ", "))
	}
}

// between wants a number within bounds, both included.
func between[T interface {
	int | Size
	comparable
}](p place, value, low, high T) {
	if value < low || value > high {
		p.say(fmt.Sprintf("%v is out of range", value), fmt.Sprintf("from %v to %v", low, high))
	}
}

// namesOf lists a key of each item, by which others refer to it. It is not complete where the file holds
// names that could not be read, so that what seems missing may not be.
func namesOf[T any](p place, list []T, key string, name func(T) string) (names []string, complete bool) {
	complete = !p.isMuted()
	for i, item := range list {
		complete = complete && !p.item(i).key(key).isMuted()
		names = append(names, name(item))
	}
	return names, complete
}

func quoteAll(list []string) []string {
	quoted := make([]string, 0, len(list))
	for _, s := range list {
		quoted = append(quoted, quote(s))
	}
	return quoted
}
