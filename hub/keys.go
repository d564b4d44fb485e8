package hub

import "github.com/taskhub-tools/taskhub/schema"

// Keys selects rows of a table: PartitionKey from From on and before To, where
// empty strings leave the range open, and only RowKey where that is set. The
// zero value selects every row.
//
// Instances rows have the empty RowKey, which cannot be asked for this way and
// need not be.
type Keys struct {
	From, To string
	RowKey   string
}

// Partition selects the rows of one partition.
func Partition(partitionKey string) Keys {
	return Keys{From: partitionKey, To: partitionKey + "\x00"}
}

// Prefix selects the rows of the instances whose IDs begin with prefix.
func Prefix(prefix string) Keys {
	key := schema.EscapeKey(prefix)
	return Keys{From: key, To: schema.PrefixEnd(key)}
}

// EntityKeys selects entities: their IDs begin with @, the character before A.
func EntityKeys() []Keys { return []Keys{{From: "@", To: "A"}} }

// OrchestrationKeys selects all instances but entities.
func OrchestrationKeys() []Keys { return []Keys{{To: "@"}, {From: "A"}} }

// Contains reports whether k selects the row with these keys.
func (k Keys) Contains(partitionKey, rowKey string) bool {
	return (k.RowKey == "" || rowKey == k.RowKey) &&
		(k.From == "" || schema.CompareKeys(partitionKey, k.From) >= 0) &&
		(k.To == "" || schema.CompareKeys(partitionKey, k.To) < 0)
}

// Intersect returns the ranges common to a and b. Each is in key order and
// without overlap, and so is the result. RowKeys are not looked at.
func Intersect(a, b []Keys) []Keys {
	var out []Keys
	for len(a) > 0 && len(b) > 0 {
		from, to := a[0].From, a[0].To
		if schema.CompareKeys(from, b[0].From) < 0 {
			from = b[0].From
		}
		if to == "" || b[0].To != "" && schema.CompareKeys(b[0].To, to) < 0 {
			to = b[0].To
		}
		if to == "" || schema.CompareKeys(from, to) < 0 {
			out = append(out, Keys{From: from, To: to})
		}
		// The range that ends first can meet nothing more.
		switch {
		case to == "":
			return out
		case a[0].To == to:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return out
}
