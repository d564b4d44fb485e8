package replay_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// entityCode is what Mermaid replaces before it looks at the syntax.
//
// Source: mermaid 11, utils.ts encodeEntities.
var entityCode = regexp.MustCompile(`#(\d+);`)

// The statements that we use, as the lexers of Mermaid take them after entity
// codes are replaced, here by a letter.
//
// Source: mermaid 11, sequenceDiagram.jison and gantt.jison.
var (
	participantLine = regexp.MustCompile(`^    participant ([A-Z]+\d*) as ([^#\n;@]+)$`)
	messageLine     = regexp.MustCompile(`^    ([A-Z]+\d*)(->>|-->>)([A-Z]+\d*): ([^#\n;]+)$`)
	noteLine        = regexp.MustCompile(`^    Note over ([A-Z]+\d*): ([^#\n;]+)$`)

	sectionLine = regexp.MustCompile(`^    section ([^#:\n;]+)$`)
	taskLine    = regexp.MustCompile(`^    ([^#:\n;]+) :((?:done|active|crit|milestone), )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}), (\d+)ms$`)
)

// keywords begin another statement where a participant or a task's text could
// stand; Mermaid takes them in any case.
var keywords = []string{
	"activate", "alt", "and", "as", "autonumber", "box", "break", "create", "critical", "deactivate", "destroy", "else", "end",
	"link", "links", "loop", "note", "opt", "option", "over", "par", "par_over", "participant", "properties", "rect", "right of",
	"left of", "sequenceDiagram", "title", "accTitle", "accDescr", "actor", "details",
	"gantt", "dateFormat", "inclusiveEndDates", "topAxis", "axisFormat", "tickInterval", "includes", "excludes", "todayMarker",
	"weekday", "weekend", "section", "click", "call", "href", "%%",
}

// checkDiagrams writes both diagrams of a timeline and fails unless each line is a
// statement that Mermaid takes for what it is meant to be.
func checkDiagrams(t *testing.T, tl *replay.Timeline) (sequence, gantt string) {
	t.Helper()
	var s, g strings.Builder
	if err := tl.WriteSequence(&s); err != nil {
		t.Fatal(err)
	}
	if err := tl.WriteGantt(&g); err != nil {
		t.Fatal(err)
	}
	for _, err := range slices.Concat(sequenceErrors(s.String(), len(tl.Instances)), ganttErrors(g.String(), len(tl.Instances))) {
		t.Errorf("%q: %s", tl.Instances[0].ID, err)
	}
	return s.String(), g.String()
}

// diagramLines returns the lines behind the first one as the lexer sees them.
func diagramLines(text, first string) (lines, errs []string) {
	rest, ok := strings.CutPrefix(text, first+"\n")
	if !ok || !strings.HasSuffix(text, "\n") {
		return nil, []string{fmt.Sprintf("does not begin with %s, or has no last end of line: %q", first, text)}
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(rest, "\n"), "\n") {
		// These are looked for in the text as it is.
		//
		// Source: mermaid 11, utils.ts encodeEntities, comments.ts.
		if regexp.MustCompile(`(style|classDef).*:\S*#.*;`).MatchString(line) || strings.Contains(line, "%%") {
			errs = append(errs, "a style or a comment: "+line)
		}
		for _, r := range line {
			if !unicode.IsPrint(r) {
				errs = append(errs, fmt.Sprintf("has %U: %q", r, line))
			}
		}
		lines = append(lines, entityCode.ReplaceAllString(line, "x"))
	}
	return lines, errs
}

func startsWithKeyword(text string) bool {
	for _, k := range keywords {
		if rest, ok := strings.CutPrefix(strings.ToLower(text), strings.ToLower(k)); ok && (rest == "" || !unicode.IsLetter(rune(rest[0]))) {
			return true
		}
	}
	return false
}

func sequenceErrors(text string, instances int) (errs []string) {
	lines, errs := diagramLines(text, "sequenceDiagram")
	declared := make(map[string]bool)
	use := func(line string, ids ...string) {
		for _, id := range ids {
			if !declared[id] || startsWithKeyword(id) {
				errs = append(errs, "no participant "+id+": "+line)
			}
		}
	}
	own, begun := 0, false
	for _, line := range lines {
		if m := participantLine.FindStringSubmatch(line); m != nil && !begun {
			if declared[m[1]] || strings.TrimSpace(m[2]) == "" {
				errs = append(errs, "declared twice, or without a name: "+line)
			}
			declared[m[1]] = true
			if strings.HasPrefix(m[1], "P") {
				own++
			}
			continue
		}
		begun = true
		text := ""
		if m := messageLine.FindStringSubmatch(line); m != nil {
			use(line, m[1], m[3])
			text = m[4]
		} else if m := noteLine.FindStringSubmatch(line); m != nil {
			use(line, m[1])
			text = m[2]
		}
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "wrap:") || strings.HasPrefix(text, "nowrap:") {
			errs = append(errs, "not a statement: "+line)
		}
	}
	if own != instances {
		errs = append(errs, fmt.Sprintf("%d participants are on the timeline, want %d", own, instances))
	}
	return errs
}

func ganttErrors(text string, instances int) (errs []string) {
	lines, errs := diagramLines(text, "gantt")
	want := []string{"    dateFormat YYYY-MM-DD HH:mm:ss.SSS", "    axisFormat %H:%M:%S"}
	if len(lines) < 2 || !slices.Equal(lines[:2], want) {
		return append(errs, fmt.Sprintf("begins with %q", lines[:min(2, len(lines))]))
	}
	sections := 0
	for _, line := range lines[2:] {
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			sections++
			continue
		}
		m := taskLine.FindStringSubmatch(line)
		if m == nil || sections == 0 {
			errs = append(errs, "not a statement: "+line)
			continue
		}
		if _, err := time.Parse("2006-01-02 15:04:05.000", m[3]); err != nil {
			errs = append(errs, err.Error())
		}
		if startsWithKeyword(m[1]) || regexp.MustCompile(`^\d{4}-\d\d-\d\d`).MatchString(m[1]) {
			errs = append(errs, "taken for another statement: "+line)
		}
		if (m[2] == "milestone, ") != (m[4] == "0") {
			errs = append(errs, "a bar without length, or a milestone with one: "+line)
		}
	}
	if sections != instances {
		errs = append(errs, fmt.Sprintf("%d sections, want %d", sections, instances))
	}
	return errs
}

// The checks find what they are there to find.
func TestDiagramChecks(t *testing.T) {
	sequence := "sequenceDiagram\n    participant P1 as a\n    P1->>P1: x\n"
	gantt := "gantt\n    dateFormat YYYY-MM-DD HH:mm:ss.SSS\n    axisFormat %H:%M:%S\n    section a\n    activity x :done, 2026-11-22 04:00:00.000, 5ms\n"
	for name, errs := range map[string][]string{
		"sequence": sequenceErrors(sequence, 1), "gantt": ganttErrors(gantt, 1),
	} {
		if len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
		}
	}
	for old, bad := range map[string]string{
		": x": ": x;y", ": x\n": ": \n", "as a": "as a#b", "P1->>P1": "P1->>P2", "as a\n": "as a\nb\n", "->>": "~>>", " x": " \u202ex",
		"P1->>P1: x": "P1->>P1: wrap:x", "a\n    P1": "a\n    %%{init}%%\n    P1",
	} {
		if text := strings.Replace(sequence, old, bad, 1); text == sequence || len(sequenceErrors(text, 1)) == 0 {
			t.Errorf("no error in %q", text)
		}
	}
	for old, bad := range map[string]string{
		"activity": "call", "activity x": "activity: x", "section a": "section a:b", ", 5ms": ", 5", "done": "late", "22 04": "32 04", "5ms": "0ms",
		"    activity": "    2026-11-22",
	} {
		if text := strings.Replace(gantt, old, bad, 1); text == gantt || len(ganttErrors(text, 1)) == 0 {
			t.Errorf("no error in %q", text)
		}
	}
}

// hostile are names that mean something to Mermaid, to a terminal or to nobody,
// with what a diagram shows of them.
var hostile = []struct{ name, shown string }{
	{"order-1", "order-1"},
	{`quote"d'id`, `quote"d'id`},
	{"a b", "a b"},
	{"a#35;b;c", "a#35;b;c"},
	{"a\nP1->>P1: b", `a\nP1->>P1: b`},
	{"line\u2028line\r", `line\u2028line\r`},
	{"end", "end"},
	{"wrap:x", "wrap:x"},
	{"call me", "call me"},
	{"2026-11-22", "2026-11-22"},
	{"style a:b#c;", "style a:b#c;"},
	{"%%{init: {}}%%", "%%{init: {}}%%"},
	{"<script>&amp;</script>", "<script>&amp;</script>"},
	{"ünïcode-日本語-😀", "ünïcode-日本語-😀"},
	{"\u202eright to left", `\u202eright to left`},
	{"\x1b[31mred", `\x1b[31mred`},
	{"@counter@c1", "@counter@c1"},
	{"\xff\xfe", "\ufffd\ufffd"},
	{" ", "(empty)"},
	{strings.Repeat("é", 101), strings.Repeat("é", 100) + "…"},
}

func TestDiagramsOfHostileNames(t *testing.T) {
	for _, tt := range hostile {
		h := histories{tt.name: partition(
			tt.name, begin(0), start(0, tt.name, ""), task(1, 0, tt.name), child(1, 1, tt.name, "child of "+tt.name),
			sent(2, 2, "other "+tt.name, tt.name, ""), raised(3, tt.name, ""), done(4, 0),
			&schema.UnknownEvent{EventHeader: head(-1, 5), Name: tt.name},
		)}
		tl := h.timeline(t, tt.name, replay.TimelineOptions{})
		sequence, gantt := checkDiagrams(t, tl)
		for _, want := range []string{"participant P1 as " + tt.shown + "\n", "P1->>ACT: " + tt.shown + "\n"} {
			if got := decodeEntities(sequence); !strings.Contains(got, want) {
				t.Errorf("%q: no %q in\n%s", tt.name, want, got)
			}
		}
		if got, want := decodeEntities(gantt), "section P1 "+tt.shown+"\n"; !strings.Contains(got, want) {
			t.Errorf("%q: no %q in\n%s", tt.name, want, got)
		}
	}
}

// decodeEntities shows a diagram as a reader sees it.
func decodeEntities(text string) string {
	return entityCode.ReplaceAllStringFunc(text, func(code string) string {
		n, err := strconv.Atoi(code[1 : len(code)-1])
		if err != nil {
			return code
		}
		return string(rune(n))
	})
}

func FuzzDiagrams(f *testing.F) {
	for _, tt := range hostile {
		f.Add(tt.name, tt.name, int32(0), int64(at(5)))
	}
	f.Add("a", "b", int32(-100), int64(-1))
	f.Add("a", "b", int32(7), int64(schema.MaxTicks))
	f.Fuzz(func(t *testing.T, id, name string, number int32, when int64) {
		h := histories{id: partition(
			id, begin(0), start(0, name, id), task(1, number, name), child(1, number, name, name), sent(2, 2, id, name, name),
			raised(3, name, name), done(4, number), end(9, 3, schema.StatusFailed),
		)}
		for i := range h[id] {
			if i%3 == 1 {
				h[id][i].Set("_Timestamp", schema.DateTime(schema.Ticks(min(max(when, 0), int64(schema.MaxTicks)))))
			}
		}
		checkDiagrams(t, h.timeline(t, id, replay.TimelineOptions{}))
	})
}
