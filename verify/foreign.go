package verify

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// foreign looks for addresses in Input and Output that are not of this hub's
// payloads. The framework fetches whatever is an absolute address.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:479-515,
// MessageManager.cs:132-153.
func (v *run) foreign(s *subject) {
	for _, c := range [...]struct {
		name  string
		value schema.Text
	}{{"Input", s.row.Input}, {"Output", s.row.Output}} {
		where, known := foreignAddress(c.value.Value, v.info.Account, v.container)
		if where == "" {
			continue
		}
		if !known {
			s.unknown(codeBlobForeignURL, where)
			continue
		}
		s.violated(Finding{
			Code: codeBlobForeignURL, Detail: fmt.Sprintf("%s is an address of %s", c.name, where), At: []Place{instanceRow(s.key, c.name)},
		})
	}
}

// maxAddress bounds what is taken for an address: a longer text is not one that a
// server would accept.
const maxAddress = 8192

// foreignAddress says what a value is an address of, if it is one and not one of
// this container; empty otherwise. sure is false if the account cannot be told.
func foreignAddress(value, account, container string) (what string, sure bool) {
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok || len(value) > maxAddress || !isScheme(scheme) || strings.ContainsAny(rest, " \t\r\n\"<>\\^`{|}") {
		return "", true
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return "", true
	}
	if scheme := strings.ToLower(u.Scheme); scheme != "http" && scheme != "https" {
		return "something that is no blob", true
	}
	if _, ours := schema.ParseBlobURL(value, container); !ours {
		return "something else than a payload of this hub", true
	}
	// The account stands in front of the host, or as the first segment of the path.
	label, domain, _ := strings.Cut(u.Hostname(), ".")
	segments := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	inPath := len(segments) > 1 && segments[0] != container
	switch {
	case account == "":
		return "a payload, of which account is not known", false
	case inPath && segments[0] == account, !inPath && strings.TrimSuffix(label, "-secondary") == account:
		return "", true
	case inPath || strings.HasPrefix(domain, "blob."):
		return "a payload of another account", true
	}
	return "a payload behind a host name that does not tell its account", false
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(s[i]))) {
			return false
		}
	}
	return len(s) > 1
}
