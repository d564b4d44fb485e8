package ui

import (
	"bufio"
	"io"
	"strings"
)

// Table is text in aligned columns. The zero Table is empty and ready.
type Table struct {
	// Right holds for each column whether it is aligned to the right; columns
	// beyond its end are not.
	Right []bool
	// Indent precedes each line.
	Indent string

	rows [][]string
}

// Row adds a line. Cells are escaped.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = Escape(c)
	}
	t.rows = append(t.rows, row)
}

// Empty reports whether t has no line.
func (t *Table) Empty() bool { return len(t.rows) == 0 }

// maxAligned is the width beyond which a cell does not widen its column: one
// long name must not push the others off the screen.
const maxAligned = 60

// Write writes the lines, columns two spaces apart, without trailing blanks.
func (t *Table) Write(w io.Writer) error {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if n := Width(c); n <= maxAligned {
				widths[i] = max(widths[i], n)
			}
		}
	}
	b := bufio.NewWriter(w)
	for _, row := range t.rows {
		var line strings.Builder
		line.WriteString(t.Indent)
		for i, c := range row {
			pad := strings.Repeat(" ", max(widths[i]-Width(c), 0))
			if i > 0 {
				line.WriteString("  ")
			}
			if i < len(t.Right) && t.Right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		_, _ = b.WriteString(strings.TrimRight(line.String(), " ") + "\n") // Flush has the error
	}
	return b.Flush()
}
