package ui

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var byteUnits = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// Bytes formats a size in powers of 1024, such as 1.2 MiB.
func Bytes(n int64) string {
	f, unit := float64(n), 0
	for math.Abs(f) >= 1023.95 && unit < len(byteUnits)-1 {
		f /= 1024
		unit++
	}
	if unit == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return fmt.Sprintf("%.1f %s", f, byteUnits[unit])
}

// ParseBytes reads a size as people write it: a number, possibly with a
// fraction, and B, KB, MB, … (powers of 1000) or KiB, MiB, … or K, M, … (powers
// of 1024), in any case.
func ParseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.ContainsAny(digits, "eExX_") || f < 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, errSize
	}
	unit := strings.ToUpper(strings.TrimSpace(s[len(digits):]))
	if unit != "" && unit != "B" {
		power := strings.IndexByte("BKMGTPE", unit[0])
		base := 1024.0
		switch unit[1:] {
		case "", "IB":
		case "B":
			base = 1000
		default:
			power = -1
		}
		if power < 1 {
			return 0, errSize
		}
		f *= math.Pow(base, float64(power))
	}
	if f >= math.MaxInt64 {
		return 0, errSize
	}
	return int64(f), nil
}

var errSize = errors.New("not a size such as 500KB or 256MiB")

// Count formats a number with a comma between thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Plural formats a count with its noun.
func Plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

// Duration formats a length of time to two units, such as 1h05m, 3m07s or 12s.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s >= 86_400:
		return fmt.Sprintf("%dd%02dh", s/86_400, s%86_400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}
