package live

import (
	"strings"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// filter returns the OData filter that selects keys; empty for all rows. If
// wider is set, it selects more, and the rest has to be left out afterwards.
//
// A bound is any text, but not all of it can stand in a filter. One that ends in
// U+0000 only says on which side of the key before it to stop, as in
// [hub.Partition]; other control characters, which no key has either, and what is not
// UTF-8 cut the bound short.
func filter(keys hub.Keys) (text string, wider bool) {
	var terms []string
	term := func(column, operator, value string) {
		terms = append(terms, column+" "+operator+" '"+strings.ReplaceAll(value, "'", "''")+"'")
	}
	from, fromAfter := strings.CutSuffix(keys.From, "\x00")
	to, toAfter := strings.CutSuffix(keys.To, "\x00")
	switch {
	case toAfter && keys.From == to && plainLen(to) == len(to):
		term("PartitionKey", "eq", to)
	default:
		if keys.From != "" {
			operator := "ge"
			if n := plainLen(from); n < len(from) {
				from, wider = from[:n], true
			} else if fromAfter {
				operator = "gt"
			}
			if from != "" || operator == "gt" {
				term("PartitionKey", operator, from)
			}
		}
		if keys.To != "" {
			operator := "lt"
			if n := plainLen(to); n < len(to) {
				to, wider = schema.PrefixEnd(to[:n]), true
			} else if toAfter {
				operator = "le"
			}
			if to != "" || operator == "le" {
				term("PartitionKey", operator, to)
			}
		}
	}
	if keys.RowKey != "" {
		if plainLen(keys.RowKey) == len(keys.RowKey) {
			term("RowKey", "eq", keys.RowKey)
		} else {
			wider = true
		}
	}
	return strings.Join(terms, " and "), wider
}

// plainLen returns the length of the beginning of s that can stand in a filter.
func plainLen(s string) int {
	for i, r := range s {
		if r < 0x20 || r >= 0x7F && r <= 0x9F {
			return i
		}
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return len(s)
}
