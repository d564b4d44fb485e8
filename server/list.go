package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/manage"
)

// tokenHeader has the token with which a list goes on, of requests and answers.
const tokenHeader = "X-Ms-Continuation-Token"

// usualPage is how many entries a page of a list has.
const usualPage = 100

// page returns the part of a list that is asked for.
func (c *call) page() (top int, token manage.Token, err *exception) {
	top, ok := c.query.number("top")
	switch {
	case !ok:
		top = usualPage
	case top < 0:
		return 0, "", badArgument("top must not be negative.")
	}
	// The framework's token for the real service ends in a blank.
	token = manage.Token(strings.TrimSpace(c.r.Header.Get(tokenHeader)))
	if !token.Valid() {
		return 0, "", badArgument("The continuation token is not one that this server has given.")
	}
	return top, token, nil // 0 and more than 1,000 are for List to bound
}

// next tells the client how a list goes on.
func (c *call) next(token manage.Token) {
	if token != "" {
		c.w.Header().Set(tokenHeader, string(token))
	}
}

// list answers with a page of instances.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:452-511. Differences: an
// input is not shown if it is not wanted; the framework shows it all the same if
// nothing else is asked for.
func (c *call) list() {
	f := manage.Filter{}
	f.IDPrefix, _ = c.query.text("instanceIdPrefix")
	f.CreatedFrom, _ = c.query.time("createdTimeFrom")
	f.CreatedTo, _ = c.query.time("createdTimeTo")
	var unknown []string
	f.Statuses, unknown = c.query.statuses("runtimeStatus")
	if slices.ContainsFunc(unknown, isUnknownStatus) {
		badArgument("Requested value 'Unknown' was not found.").write(c.w)
		return
	}
	top, token, bad := c.page()
	if bad != nil {
		bad.write(c.w)
		return
	}
	p, err := c.hub.query.List(c.r.Context(), f, c.shown().payloads(), top, token)
	if err != nil {
		c.fail(err)
		return
	}
	for i := range p.States {
		c.problems(p.States[i].Problems)
	}
	c.next(p.Next)
	b := c.newBody(http.StatusOK)
	b.add("[")
	for i := range p.States {
		if i > 0 {
			b.add(",")
		}
		b.state(&p.States[i])
		b.add("}")
	}
	b.add("]")
	b.end()
}

// isUnknownStatus reports whether an entry of a list of statuses is the one that
// the HTTP API has and storage has not. Other unknown entries are passed over.
//
// Source: Functions extension 2.13.7, AzureStorageDurabilityProvider.cs:212-224;
// recorded in the calls of hub functions-3.
func isUnknownStatus(entry string) bool { return strings.EqualFold(entry, "Unknown") || entry == "-1" }
