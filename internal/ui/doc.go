// Package ui is what the command says to people: tables, sizes and times, the
// progress line. Text that comes from storage is escaped here, so that it can
// neither move the cursor of a terminal nor turn the order of a line around.
package ui
