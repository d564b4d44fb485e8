package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/schema"
)

// partition makes the rows of a History partition from a text such as
// "0:A 1:A S:A".
func partition(text string) []schema.Row {
	var rows []schema.Row
	for _, f := range strings.Fields(text) {
		position, execution, _ := strings.Cut(f, ":")
		r := schema.Row{PartitionKey: "p", RowKey: schema.SentinelRowKey}
		if position != "S" {
			r.RowKey = schema.FormatSequence(int64(position[0] - '0'))
		}
		if execution != "" {
			r.Set("ExecutionId", schema.String(execution))
		}
		rows = append(rows, r)
	}
	return rows
}

func TestLiveHistory(t *testing.T) {
	tests := []struct{ name, rows, requested, want string }{
		{"whole", "0:A 1:A 2:A 3:A S:A", "", "0123"},
		{"whole, its execution requested", "0:A 1:A 2:A 3:A S:A", "A", "0123"},
		{"whole, another requested", "0:A 1:A 2:A 3:A S:A", "B", ""},
		{"leftovers", "0:B 1:B 2:B 3:A 4:A S:B", "", "012"},
		{"leftovers requested", "0:B 1:B 2:B 3:A 4:A S:B", "A", ""},
		{"leftovers, the live one requested", "0:B 1:B 2:B 3:A 4:A S:B", "B", "012"},
		{"no sentinel", "0:A 1:A", "", "01"},
		{"no sentinel, requested", "0:A 1:A", "A", ""},
		{"no sentinel, another requested", "0:A 1:A", "B", ""},
		{"mismatch", "0:A 1:A S:B", "", ""},
		{"mismatch, the rows' requested", "0:A 1:A S:B", "A", ""},
		{"mismatch, the sentinel's requested", "0:A 1:A S:B", "B", ""},
		{"hole", "0:B 1:B 2:A 3:B S:B", "", "01"},
		{"hole, the other requested", "0:B 1:B 2:A 3:B S:B", "A", ""},
		{"hole, requested", "0:B 1:B 2:A 3:B S:B", "B", "013"},
		{"nothing", "", "", ""},
		{"nothing, requested", "", "A", ""},
		{"only a sentinel", "S:A", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			for _, r := range schema.LiveHistory(partition(tt.rows), tt.requested) {
				n, ok := schema.ParseSequence(r.RowKey)
				if !ok {
					t.Errorf("row %q is no event", r.RowKey)
				}
				fmt.Fprint(&got, n)
			}
			if got.String() != tt.want {
				t.Errorf("LiveHistory(%s, %q) = %s, want %s", tt.rows, tt.requested, &got, tt.want)
			}
		})
	}
}

func TestCurrentExecution(t *testing.T) {
	for _, tt := range []struct{ name, sentinel, first, want string }{
		{"both", "S:B", "0:A", "B"},
		{"no sentinel", "", "0:A", "A"},
		{"only a sentinel", "S:B", "", "B"},
		{"a sentinel that does not say", "S:", "0:A", "A"},
		{"neither", "", "", ""},
		{"neither says", "S:", "0:", ""},
	} {
		row := func(text string) *schema.Row {
			if text == "" {
				return nil
			}
			return &partition(text)[0]
		}
		if got := schema.CurrentExecution(row(tt.sentinel), row(tt.first)); got != tt.want {
			t.Errorf("%s: CurrentExecution = %q, want %q", tt.name, got, tt.want)
		}
	}
}
