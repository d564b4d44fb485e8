package manage

import (
	"slices"
	"strings"
)

// Similar returns those of names that somebody who wrote name may have meant,
// the most similar first: names that differ in case, that begin with each other,
// or that are a few keystrokes apart.
func Similar(name string, names []string) []string {
	type match struct {
		name string
		cost int
	}
	var found []match
	lower := strings.ToLower(name)
	for _, n := range names {
		other := strings.ToLower(n)
		cost := distance(lower, other)
		if cost > max(1, len(lower)/4) {
			if !strings.HasPrefix(other, lower) && !strings.HasPrefix(lower, other) {
				continue
			}
		}
		found = append(found, match{n, cost})
	}
	slices.SortStableFunc(found, func(a, b match) int { return a.cost - b.cost })
	var similar []string
	for _, m := range found {
		similar = append(similar, m.name)
	}
	return similar[:min(len(similar), maxSimilar)]
}

// maxSimilar bounds what is told.
const maxSimilar = 5

// distance is the number of bytes to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
