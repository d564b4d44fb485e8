package server

import (
	"slices"
	"testing"

	"github.com/taskhub-tools/taskhub/schema"
)

func TestParams(t *testing.T) {
	p := parseParams("Reason=because%20%C3%A9+x%2B&a=1&A=2&empty=&&flag&=n&b%20c=d&bad=%zz%4&raw=%ff&x=y=z")
	for _, tt := range []struct {
		name, want string
		set        bool
	}{
		{"reason", "because é x+", true},
		{"a", "1,2", true}, // one that is there twice is both
		{"empty", "", true},
		{"flag", "", false}, // no name of a parameter
		{"b c", "d", true},
		{"bad", "%zz%4", true},
		{"raw", "\uFFFD", true},
		{"x", "y=z", true},
		{"missing", "", false},
	} {
		if got, set := p.text(tt.name); got != tt.want || set != tt.set {
			t.Errorf("text(%q) = %q, %v, want %q, %v", tt.name, got, set, tt.want, tt.set)
		}
	}
}

func TestParamsTruth(t *testing.T) {
	for query, want := range map[string]bool{
		"x=true": true, "x=TRUE": true, "X=True": true, "x=%20true%20": true,
		"x=false": false, "x=1": false, "x=yes": false, "x=": false, "": false, "x=true&x=true": false,
	} {
		if got := parseParams(query).truth("x", false); got != want {
			t.Errorf("truth of %q = %v, want %v", query, got, want)
		}
	}
	for query, want := range map[string]bool{"x=false": false, "x=0": true, "": true} {
		if got := parseParams(query).truth("x", true); got != want {
			t.Errorf("truth of %q, usually true, = %v, want %v", query, got, want)
		}
	}
}

func TestParamsNumbers(t *testing.T) {
	for query, want := range map[string]int{"n=7": 7, "n=-1": -1, "n=%2B5": 5, "n=%209%20": 9} {
		if got, ok := parseParams(query).number("n"); !ok || got != want {
			t.Errorf("number of %q = %d, %v, want %d", query, got, ok, want)
		}
	}
	for _, query := range []string{"n=abc", "n=1.5", "n=4294967296", "n=", "", "n=1&n=2", "n=0x10"} {
		if got, ok := parseParams(query).number("n"); ok {
			t.Errorf("number of %q = %d, want none", query, got)
		}
	}
	for query, want := range map[string]float64{"n=0.5": 0.5, "n=30": 30, "n=1e2": 100, "n=-1": -1} {
		if got, ok := parseParams(query).seconds("n"); !ok || got != want {
			t.Errorf("seconds of %q = %v, %v, want %v", query, got, ok, want)
		}
	}
	for _, query := range []string{"n=NaN", "n=Infinity", "n=1e999", "n=", "", "n=0x10", "n=1_0", "n=1&n=2"} {
		if got, ok := parseParams(query).seconds("n"); ok {
			t.Errorf("seconds of %q = %v, want none", query, got)
		}
	}
}

func TestParamsTime(t *testing.T) {
	for text, want := range map[string]string{
		"2018-01-10T10:10:10.1234567Z":        "2018-01-10T10:10:10.1234567Z",
		"1970-01-01T00:00:00.000Z":            "1970-01-01T00:00:00.0000000Z",
		"2018-03-10T23:59Z":                   "2018-03-10T23:59:00.0000000Z",
		"2018-03-10T23:59":                    "2018-03-10T23:59:00.0000000Z",
		"2018-03-10T09:00:00%2B09:00":         "2018-03-10T00:00:00.0000000Z",
		"2018-03-10+13:57:31":                 "2018-03-10T13:57:31.0000000Z",
		"2001-01-01":                          "2001-01-01T00:00:00.0000000Z",
		"%202001-01-01%20":                    "2001-01-01T00:00:00.0000000Z",
		"03/10/2018":                          "2018-03-10T00:00:00.0000000Z",
		"3/10/2018+1:57:31+PM":                "2018-03-10T13:57:31.0000000Z",
		"Sat,+10+Mar+2018+13:57:31+GMT":       "2018-03-10T13:57:31.0000000Z",
		"2018-01-10T10:10:10.1234567891Z":     "2018-01-10T10:10:10.1234567Z",
		"9999-12-31T23:59:59.9999999%2B00:00": "9999-12-31T23:59:59.9999999Z",
	} {
		if got, ok := parseParams("t=" + text).time("t"); !ok || got.String() != want {
			t.Errorf("time of %q = %v, %v, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"yesterday", "", "2018-13-01", "2018-02-30", "1234", "2018-03-10T09:00:00+09:00"} {
		if got, ok := parseParams("t=" + text).time("t"); ok {
			t.Errorf("time of %q = %v, want none", text, got)
		}
	}
}

func TestParamsStatuses(t *testing.T) {
	known, unknown := parseParams("s=Running,completed&S=3,%20SUSPENDED,,Nonsense&s=-1&s=42").statuses("s")
	if want := []schema.Status{schema.StatusRunning, schema.StatusCompleted, schema.StatusFailed, schema.StatusSuspended}; !slices.Equal(known, want) {
		t.Errorf("statuses = %v, want %v", known, want)
	}
	if want := []string{"Nonsense", "-1", "42"}; !slices.Equal(unknown, want) {
		t.Errorf("unknown = %q, want %q", unknown, want)
	}
}
