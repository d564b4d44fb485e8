package schema_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

func TestParseTicks(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"canonical", "2026-11-22T04:07:21.7644267Z", "2026-11-22T04:07:21.7644267Z"},
		{"no fraction", "2026-11-22T04:07:21Z", "2026-11-22T04:07:21.0000000Z"},
		{"one digit", "2026-11-22T04:07:21.5Z", "2026-11-22T04:07:21.5000000Z"},
		{"six digits", "2026-11-22T04:07:21.764426Z", "2026-11-22T04:07:21.7644260Z"},
		{"nine digits that end in zeros", "2026-11-22T04:07:21.764426700Z", "2026-11-22T04:07:21.7644267Z"},
		{"no zone", "2026-11-22T04:07:21.7644267", "2026-11-22T04:07:21.7644267Z"},
		{"no seconds", "2026-11-22T04:07", "2026-11-22T04:07:00.0000000Z"},
		{"no seconds, Z", "2026-11-22T04:07Z", "2026-11-22T04:07:00.0000000Z"},
		{"space for T", "2026-11-22 04:07:21Z", "2026-11-22T04:07:21.0000000Z"},
		{"small z", "2026-11-22T04:07:21z", "2026-11-22T04:07:21.0000000Z"},
		{"offset", "2026-11-22T04:07:21.25+05:30", "2026-11-21T22:37:21.2500000Z"},
		{"negative offset", "2026-11-22T23:07:21-08:00", "2026-11-23T07:07:21.0000000Z"},
		{"zero offset", "2026-11-22T04:07:21+00:00", "2026-11-22T04:07:21.0000000Z"},
		{"year 1 as unset", "0001-01-01T00:00:00", "0001-01-01T00:00:00.0000000Z"},
		{"before 1601", "1582-10-15T00:00:00Z", "1582-10-15T00:00:00.0000000Z"},
		{"last", "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"},
		{"leap day", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00.0000000Z"},
		{"leap day of a 400th year", "2000-02-29T12:00:00Z", "2000-02-29T12:00:00.0000000Z"},
		{"leap day of year 4", "0004-02-29T00:00:00Z", "0004-02-29T00:00:00.0000000Z"},
		{"end of a year", "2023-12-31T23:59:59.9999999Z", "2023-12-31T23:59:59.9999999Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schema.ParseTicks(tt.in)
			if err != nil || got.String() != tt.want {
				t.Errorf("ParseTicks(%q) = %v, %v, want %s", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseTicksErrors(t *testing.T) {
	for name, in := range map[string]string{
		"empty":                      "",
		"date only":                  "2026-11-22",
		"no date":                    "null",
		"month 0":                    "2026-00-22T04:07:21.7644267Z",
		"month 13":                   "2026-13-22T04:07:21.7644267Z",
		"day 0":                      "2026-11-00T04:07:21.7644267Z",
		"November 31":                "2026-11-31T04:07:21.7644267Z",
		"February 29":                "2023-02-29T04:07:21.7644267Z",
		"February 29 of a 100th":     "1900-02-29T04:07:21.7644267Z",
		"February 30":                "2024-02-30T04:07:21.7644267Z",
		"hour 24":                    "2026-11-22T24:00:00.0000000Z",
		"minute 60":                  "2026-11-22T04:60:21.7644267Z",
		"leap second":                "2026-11-22T04:07:60.0000000Z",
		"year 0":                     "0000-11-22T04:07:21.7644267Z",
		"year 10000":                 "10000-01-01T00:00:00.000000Z",
		"letter in canonical":        "2026-11-22T04:07:21.76442x7Z",
		"colon in canonical":         "2026-11-22T04:07:2:.7644267Z",
		"slash in canonical":         "2026-11-2/T04:07:21.7644267Z",
		"other separators":           "2026/11/22T04:07:21Z",
		"finer than 100 ns":          "2026-11-22T04:07:21.76442671Z",
		"point without digits":       "2026-11-22T04:07:21.Z",
		"comma":                      "2026-11-22T04:07:21,5Z",
		"text after":                 "2026-11-22T04:07:21Z ",
		"offset without colon":       "2026-11-22T04:07:21+0530",
		"offset of 15 hours":         "2026-11-22T04:07:21+15:00",
		"offset to before year 1":    "0001-01-01T00:00:00+01:00",
		"offset to after year 9999":  "9999-12-31T23:59:59.9999999-00:01",
		"half of the seconds":        "2026-11-22T04:07:2",
		"digits of another alphabet": "２026-11-22T04:07",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := schema.ParseTicks(in); err == nil {
				t.Errorf("ParseTicks(%q) = %v, want an error", in, got)
			}
		})
	}
}

func TestTicksBounds(t *testing.T) {
	var zero schema.Ticks
	if got := zero.Time(); !got.Equal(time.Time{}) {
		t.Errorf("Ticks(0).Time() = %v, want the zero time", got)
	}
	if got, want := schema.MaxTicks.String(), "9999-12-31T23:59:59.9999999Z"; got != want {
		t.Errorf("MaxTicks = %s, want %s", got, want)
	}
	for _, tt := range []struct {
		name string
		in   time.Time
		want schema.Ticks
	}{
		{"year 1", time.Time{}, 0},
		{"before year 1", time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC), 0},
		{"long before year 1", time.Unix(-1<<62, 0), 0},
		{"after year 9999", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), schema.MaxTicks},
		{"long after year 9999", time.Unix(1<<62, 0), schema.MaxTicks},
		{"below 100 ns", time.Date(1, 1, 1, 0, 0, 0, 199, time.UTC), 1},
		{"another zone", time.Date(1, 1, 1, 1, 0, 0, 0, time.FixedZone("", 3600)), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := schema.TicksOf(tt.in); got != tt.want {
				t.Errorf("TicksOf(%v) = %v, want %v", tt.in, got, tt.want)
			}
		})
	}
}

func TestAppendTrimmed(t *testing.T) {
	for in, want := range map[string]string{
		"2026-11-22T04:07:21.7644267Z": "2026-11-22T04:07:21.7644267Z",
		"2026-11-22T04:08:26.1250410Z": "2026-11-22T04:08:26.125041Z",
		"2026-11-22T04:08:26.1000000Z": "2026-11-22T04:08:26.1Z",
		"2026-11-22T04:08:20.0000000Z": "2026-11-22T04:08:20Z",
		"2026-11-22T00:00:00.0000000Z": "2026-11-22T00:00:00Z",
		"2000-10-10T10:10:10.0000001Z": "2000-10-10T10:10:10.0000001Z",
	} {
		ticks, err := schema.ParseTicks(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(ticks.AppendTrimmed([]byte("at "))); got != "at "+want {
			t.Errorf("AppendTrimmed of %s = %s, want %s", in, got, want)
		}
	}
}

func TestUnixNano(t *testing.T) {
	at := func(s string) schema.Ticks {
		ticks, err := schema.ParseTicks(s)
		if err != nil {
			t.Fatal(err)
		}
		return ticks
	}
	for _, tt := range []struct {
		in string
		ns int64
		ok bool
	}{
		{"1970-01-01T00:00:00Z", 0, true},
		{"1969-12-31T23:59:59.9999999Z", -100, true},
		{"2262-04-11T23:47:16.8547758Z", 9223372036854775800, true},
		{"2262-04-11T23:47:16.8547759Z", 0, false},
		{"1677-09-21T00:12:43.1452242Z", -9223372036854775800, true},
		{"1677-09-21T00:12:43.1452241Z", 0, false},
		{"0001-01-01T00:00:00Z", 0, false},
		{"9999-12-31T23:59:59.9999999Z", 0, false},
	} {
		if ns, ok := at(tt.in).UnixNano(); ns != tt.ns || ok != tt.ok {
			t.Errorf("UnixNano of %s = %d, %v, want %d, %v", tt.in, ns, ok, tt.ns, tt.ok)
		}
	}
}

// Over random instants, and the days around each end of February, ticks and
// package time agree in both directions.
func TestTicksAgainstTime(t *testing.T) {
	const layout = "2006-01-02T15:04:05.0000000Z"
	check := func(at time.Time) {
		t.Helper()
		ticks := schema.TicksOf(at)
		if got := ticks.Time(); !got.Equal(at) || got.Location() != time.UTC {
			t.Fatalf("TicksOf(%v).Time() = %v", at, got)
		}
		text := at.Format(layout)
		if got := ticks.String(); got != text {
			t.Fatalf("TicksOf(%v) = %s, want %s", at, got, text)
		}
		trimmed := at.Format("2006-01-02T15:04:05.9999999Z")
		if got := string(ticks.AppendTrimmed(nil)); got != trimmed {
			t.Fatalf("AppendTrimmed of %s = %s, want %s", text, got, trimmed)
		}
		for _, s := range []string{text, trimmed, at.Format("2006-01-02T15:04:05.9999999")} {
			if got, err := schema.ParseTicks(s); got != ticks || err != nil {
				t.Fatalf("ParseTicks(%q) = %v, %v, want %v", s, got, err, ticks)
			}
		}
		if y := at.Year(); y > 1 && y < 9999 {
			offset := at.In(time.FixedZone("", 5400)).Format("2006-01-02T15:04:05.9999999-07:00")
			if got, err := schema.ParseTicks(offset); got != ticks || err != nil {
				t.Fatalf("ParseTicks(%q) = %v, %v, want %v", offset, got, err, ticks)
			}
		}
		if y := at.Year(); y > 1678 && y < 2262 {
			if ns, ok := ticks.UnixNano(); ns != at.UnixNano() || !ok {
				t.Fatalf("UnixNano of %s = %d, %v, want %d", text, ns, ok, at.UnixNano())
			}
		}
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		check(schema.Ticks(rnd.Int64N(int64(schema.MaxTicks) + 1)).Time())
	}
	for year := 1; year <= 9999; year++ {
		for _, day := range []int{28, 29, 30} { // 29 and 30 may be in March
			check(time.Date(year, 2, day, 23, 59, 59, 999_999_900, time.UTC))
		}
		check(time.Date(year, 12, 31, 0, 0, 0, 0, time.UTC))
	}
}
