package parquet

import (
	"strings"
	"testing"
)

func TestNewSchemaErrors(t *testing.T) {
	ok := []Column{{Name: "a"}}
	for _, tt := range []struct {
		name  string
		table string
		cols  []Column
		want  string
	}{
		{"no columns", "t", nil, "no columns"},
		{"too many columns", "t", make([]Column, maxColumns+1), "4097 columns"},
		{"empty table name", "", ok, "empty name"},
		{"empty column name", "t", []Column{{Name: "a"}, {Name: ""}}, "column 1: empty name"},
		{"long name", "t", []Column{{Name: strings.Repeat("x", 256)}}, "name of 256 bytes"},
		{"name not UTF-8", "t", []Column{{Name: "a\xff"}}, "not UTF-8"},
		{"name used twice", "t", []Column{{Name: "a"}, {Name: "b"}, {Name: "a"}}, `column 2: name "a" is used twice`},
		{"unknown kind", "t", []Column{{Name: "a", Kind: Timestamp + 1}}, "unknown kind 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewSchema(tt.table, tt.cols)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewSchema(%q, %d columns) = %v, want an error with %q", tt.table, len(tt.cols), err, tt.want)
			}
		})
	}
	if _, err := NewSchema("t", ok); err != nil {
		t.Errorf("NewSchema(%q, %v) = %v, want nil", "t", ok, err)
	}
}

func TestNewSchemaCopiesColumns(t *testing.T) {
	cols := []Column{{Name: "a", Kind: Bool}}
	s, err := NewSchema("t", cols)
	if err != nil {
		t.Fatal(err)
	}
	cols[0].Name = "b"
	if got := s.cols[0].Name; got != "a" {
		t.Errorf("name after the caller changed its slice = %q, want %q", got, "a")
	}
}
