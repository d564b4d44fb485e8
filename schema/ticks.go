package schema

import (
	"fmt"
	"math"
	"time"
)

// Ticks is a point in time in the unit that storage keeps: 100 ns steps since
// 0001-01-01T00:00:00Z, which is the zero value. It covers the years 1 to 9999.
//
// Table properties of type DateTime and the dates inside queue messages have
// exactly this resolution; [time.Time] would hold it too but costs three words
// and cannot say "as .NET wrote it" for the year 1.
type Ticks int64

const (
	ticksPerSecond = 10_000_000
	secondsPerDay  = 86_400
	// unixTicks is 1970-01-01T00:00:00Z.
	unixTicks Ticks = 719_162 * secondsPerDay * ticksPerSecond
	// MaxTicks is 9999-12-31T23:59:59.9999999Z, the last representable time.
	MaxTicks Ticks = 3_155_378_975_999_999_999
)

// TicksOf converts t, cutting what is below 100 ns. Times outside the years 1
// to 9999 are clamped to that range.
func TicksOf(t time.Time) Ticks {
	sec := t.Unix() + int64(unixTicks)/ticksPerSecond
	switch {
	case sec < 0:
		return 0
	case sec > int64(MaxTicks)/ticksPerSecond:
		return MaxTicks
	}
	return Ticks(sec*ticksPerSecond + int64(t.Nanosecond())/100)
}

// Time returns t in UTC.
func (t Ticks) Time() time.Time {
	d := int64(t - unixTicks)
	sec, rest := d/ticksPerSecond, d%ticksPerSecond
	if rest < 0 {
		sec, rest = sec-1, rest+ticksPerSecond
	}
	return time.Unix(sec, rest*100).UTC()
}

// UnixNano returns nanoseconds since 1970. ok is false when t lies outside the
// range of an int64 (1677-09-21 to 2262-04-11).
func (t Ticks) UnixNano() (ns int64, ok bool) {
	d := int64(t - unixTicks)
	if d > math.MaxInt64/100 || d < math.MinInt64/100 {
		return 0, false
	}
	return d * 100, true
}

// String returns t with all seven fractional digits, as
// 2026-11-22T04:07:21.7644267Z.
func (t Ticks) String() string { return string(t.Append(nil)) }

// Append appends the form of [Ticks.String]: always 28 bytes.
func (t Ticks) Append(dst []byte) []byte {
	y, mo, d, sec, frac := t.split()
	dst = append(dst, '0'+byte(y/1000), '0'+byte(y/100%10), '0'+byte(y/10%10), '0'+byte(y%10), '-')
	dst = append2(dst, mo)
	dst = append(dst, '-')
	dst = append2(dst, d)
	dst = append(dst, 'T')
	dst = append2(dst, sec/3600)
	dst = append(dst, ':')
	dst = append2(dst, sec/60%60)
	dst = append(dst, ':')
	dst = append2(dst, sec%60)
	dst = append(dst, '.', 0, 0, 0, 0, 0, 0, 0, 'Z')
	for i := len(dst) - 2; frac != 0 || dst[i] != '.'; i-- {
		dst[i] = '0' + byte(frac%10)
		frac /= 10
	}
	return dst
}

// AppendTrimmed appends t as the framework writes dates into JSON: trailing
// zeros of the fraction are cut, and the point with them.
func (t Ticks) AppendTrimmed(dst []byte) []byte {
	dst = t.Append(dst)
	n := len(dst) - 1
	for dst[n-1] == '0' {
		n--
	}
	if dst[n-1] == '.' {
		n--
	}
	return append(dst[:n], 'Z')
}

func append2(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }

// split returns the civil date, the second of the day and the ticks below it.
func (t Ticks) split() (year, month, day, sec, frac int) {
	days := int64(t) / (secondsPerDay * ticksPerSecond)
	rest := int64(t) % (secondsPerDay * ticksPerSecond)
	if rest < 0 {
		days, rest = days-1, rest+secondsPerDay*ticksPerSecond
	}
	sec, frac = int(rest/ticksPerSecond), int(rest%ticksPerSecond)
	// Proleptic Gregorian calendar counted from 0000-03-01, so that the leap
	// day ends the year: 306 days lie between that and 0001-01-01.
	z := days + 306
	era := z / 146_097
	doe := z - era*146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	month = int(mp) + 3
	year = int(yoe + era*400)
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day, sec, frac
}

// ParseTicks reads an ISO 8601 date and time with 0 to 7 fractional digits and
// with Z, an offset, or nothing after it; nothing means UTC. Seconds may be
// left out. Digits beyond the seventh must be zero.
func ParseTicks(s string) (Ticks, error) {
	if t, ok := parseCanonical(s); ok {
		return t, nil
	}
	t, ok := parseLenient(s)
	if !ok {
		return 0, fmt.Errorf("%q is not a date and time", s)
	}
	return t, nil
}

// canonicalTime is the length of the form that storage uses nearly always.
const canonicalTime = len("2026-11-22T04:07:21.7644267Z")

// parseCanonical reads that form.
func parseCanonical(s string) (Ticks, bool) {
	if len(s) != canonicalTime || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[19] != '.' || s[27] != 'Z' {
		return 0, false
	}
	// Each digit is OR-ed into bad: a byte that is no digit sets a bit above 3
	// in c-'0' or in c-'0'+6.
	var bad byte
	digit := func(i int) int64 {
		c := s[i] - '0'
		bad |= c | (c + 6)
		return int64(c)
	}
	year := digit(0)*1000 + digit(1)*100 + digit(2)*10 + digit(3)
	month := digit(5)*10 + digit(6)
	day := digit(8)*10 + digit(9)
	hour := digit(11)*10 + digit(12)
	minute := digit(14)*10 + digit(15)
	sec := digit(17)*10 + digit(18)
	frac := digit(20)*1_000_000 + digit(21)*100_000 + digit(22)*10_000 + digit(23)*1000 + digit(24)*100 + digit(25)*10 + digit(26)
	if bad&0xF0 != 0 {
		return 0, false
	}
	return civil(year, month, day, hour, minute, sec, frac)
}

// civil assembles a time; ok is false when a field is out of range.
func civil(year, month, day, hour, minute, sec, frac int64) (Ticks, bool) {
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || sec > 59 {
		return 0, false
	}
	if day > 28 && day > daysIn(year, month) {
		return 0, false
	}
	y, m := year, month-3
	if m < 0 {
		m += 12
		y--
	}
	era := y / 400
	yoe := y - era*400
	doe := yoe*365 + yoe/4 - yoe/100 + (153*m+2)/5 + day - 1
	days := era*146_097 + doe - 306
	return Ticks(((days*24+hour)*60+minute)*60*ticksPerSecond + sec*ticksPerSecond + frac), true
}

func daysIn(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

func parseLenient(s string) (Ticks, bool) {
	if len(s) < 16 {
		return 0, false
	}
	num := func(i, n int) (v int64, ok bool) {
		if i+n > len(s) {
			return 0, false
		}
		for _, c := range []byte(s[i : i+n]) {
			if c < '0' || c > '9' {
				return 0, false
			}
			v = v*10 + int64(c-'0')
		}
		return v, true
	}
	year, ok1 := num(0, 4)
	month, ok2 := num(5, 2)
	day, ok3 := num(8, 2)
	hour, ok4 := num(11, 2)
	minute, ok5 := num(14, 2)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != ' ' || s[13] != ':' {
		return 0, false
	}
	i := 16
	var sec, frac int64
	if i < len(s) && s[i] == ':' {
		v, ok := num(i+1, 2)
		if !ok {
			return 0, false
		}
		sec = v
		i += 3
		if i < len(s) && s[i] == '.' {
			i++
			start := i
			for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
				switch {
				case i-start < 7:
					frac = frac*10 + int64(s[i]-'0')
				case s[i] != '0':
					return 0, false // finer than 100 ns: not a stored time
				}
			}
			if i == start {
				return 0, false
			}
			for n := i - start; n < 7; n++ {
				frac *= 10
			}
		}
	}
	t, ok := civil(year, month, day, hour, minute, sec, frac)
	if !ok {
		return 0, false
	}
	switch rest := s[i:]; {
	case rest == "" || rest == "Z" || rest == "z":
		return t, true
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		h, ok1 := num(i+1, 2)
		m, ok2 := num(i+4, 2)
		if !ok1 || !ok2 || h > 14 || m > 59 {
			return 0, false
		}
		off := Ticks((h*60 + m) * 60 * ticksPerSecond)
		if rest[0] == '+' {
			off = -off
		}
		if t += off; t < 0 || t > MaxTicks {
			return 0, false
		}
		return t, true
	}
	return 0, false
}
