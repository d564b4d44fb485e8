package manage_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

func TestParsePolicy(t *testing.T) {
	got, err := manage.ParsePolicy(strings.NewReader(`# kept by law
rules:
  - name: audit
    function: Audit*
    keep: forever
  - function: ["Order?", Bill]
    status: [failed, Terminated]
    keep: 90d
    age: updated

  - status: Completed
    keep: 1d12h30m
  - keep: 30d
`))
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	want := &manage.Policy{Rules: []manage.Rule{
		{Name: "audit", Line: 3, Functions: []string{"Audit*"}, Keep: manage.Forever, By: manage.AgeCompleted},
		{
			Line: 6, Functions: []string{"Order?", "Bill"}, Statuses: []schema.Status{schema.StatusFailed, schema.StatusTerminated},
			Keep: 90 * day, By: manage.AgeUpdated,
		},
		{Line: 11, Statuses: []schema.Status{schema.StatusCompleted}, Keep: 36*time.Hour + 30*time.Minute, By: manage.AgeCompleted},
		{Line: 13, Keep: 30 * day, By: manage.AgeCompleted},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// What is not a policy is refused, with its line.
func TestParsePolicyRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		text, want string
		line       int
	}{
		"nothing":               {"", "there is nothing in it", 0},
		"only a comment":        {"# rules\n", "there is nothing in it", 0},
		"not YAML":              {"rules: [", "line 1: did not find expected node content", 0},
		"a list at the top":     {"- keep: 1d\n", "want names with values: rules", 1},
		"no rules":              {"rules:\n", "rules: want a list", 1},
		"empty rules":           {"rules: []\n", "rules: want a list", 1},
		"another name":          {"rules:\n- keep: 1d\nextra: 1\n", `"extra" is unknown; want rules`, 3},
		"a second document":     {"rules:\n- keep: 1d\n---\nrules: []\n", "a second document", 3},
		"a typo":                {"rules:\n- keep: 1d\n- stauts: Failed\n  keep: 1d\n", `"stauts" is unknown; want name, function, status, keep, age`, 3},
		"twice":                 {"rules:\n- keep: 1d\n  keep: 2d\n", "keep is there twice", 3},
		"without keep":          {"rules:\n- status: Failed\n", "keep is missing", 2},
		"keep without unit":     {"rules:\n- keep: 30\n", `keep: "30" is neither a time such as 30d, 12h or 1d12h nor forever`, 2},
		"negative":              {"rules:\n- keep: -1d\n", `keep: "-1d" is neither a time such as 30d, 12h or 1d12h nor forever`, 2},
		"negative hours":        {"rules:\n- keep: -1h\n", `keep: "-1h" is neither a time such as 30d, 12h or 1d12h nor forever`, 2},
		"overflow":              {"rules:\n- keep: 999999999999d\n", `keep: "999999999999d" is neither a time such as 30d, 12h or 1d12h nor forever`, 2},
		"null":                  {"rules:\n- keep: null\n", "keep: want a text", 2},
		"a list for keep":       {"rules:\n- keep: [1d]\n", "keep: want a text", 2},
		"what runs":             {"rules:\n- status: [Failed,\n    Running]\n  keep: 1d\n", `status: "Running" does not end an instance; want Completed, Failed, Canceled or Terminated`, 3},
		"no status":             {"rules:\n- status: []\n  keep: 1d\n", "status: the list is empty", 2},
		"empty function":        {"rules:\n- function: ''\n  keep: 1d\n", "function: want a text", 2},
		"another age":           {"rules:\n- keep: 1d\n  age: created\n", `age: "created"; want completed or updated`, 3},
		"a rule after the last": {"rules:\n- keep: 1d\n- status: Failed\n  keep: 2d\n", "the rule never decides: that of line 2 matches everything", 3},
		"an alias":              {"rules:\n- &a\n  keep: 1d\n  status: Failed\n- *a\n", "want names with values: name, function, status, keep, age", 5},
	} {
		_, err := manage.ParsePolicy(strings.NewReader(tt.text))
		var wrong *manage.PolicyError
		if !errors.As(err, &wrong) || wrong.Line != tt.line || wrong.Reason != tt.want {
			t.Errorf("%s: %v; want line %d, %s", name, err, tt.line, tt.want)
		}
	}
}

func TestPolicyMatch(t *testing.T) {
	policy := func(text string) *manage.Policy {
		p, err := manage.ParsePolicy(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	rules := policy(`rules:
- {function: Audit*, keep: forever}
- {function: "*Order?", status: Failed, keep: 10d}
- {status: [Failed, Completed], keep: 5d, age: updated}
`)
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	days := func(n float64) schema.Optional[schema.Ticks] {
		return schema.Some(schema.TicksOf(now.Add(-time.Duration(n * 24 * float64(time.Hour)))))
	}
	never := schema.Optional[schema.Ticks]{}
	for _, tt := range []struct {
		id, name, status   string
		completed, updated schema.Optional[schema.Ticks]
		rule               int
		over               bool
	}{
		{"a", "AuditAll", "Failed", days(999), days(999), 0, false},
		{"a", "MyOrder1", "Failed", days(9.9), days(1), 1, false},
		{"a", "MyOrder1", "Failed", days(10.1), days(1), 1, true},
		{"a", "MyOrder1", "Failed", never, days(10.1), 1, true}, // as versions that do not write CompletedTime
		{"a", "MyOrder1", "Failed", never, never, 1, false},
		{"a", "MyOrder12", "Failed", days(99), days(4), 2, false}, // ? is one character
		{"a", "MyOrder", "Failed", days(99), days(6), 2, true},
		{"a", "myorder1", "Failed", days(11), days(4), 2, false}, // names are compared exactly
		{"a", "X", "Completed", days(6), days(4), 2, false},      // by LastUpdatedTime
		{"a", "X", "Completed", days(1), days(6), 2, true},
		{"a", "X", "Terminated", days(999), days(999), -1, false},
		{"a", "X", "Running", never, days(999), -1, false},
		{"a", "X", "", never, days(999), -1, false},
		{"@x@y", "MyOrder1", "Failed", days(999), days(999), -1, false},
	} {
		i := schema.Instance{
			PartitionKey: schema.EscapeKey(tt.id), Name: schema.TextOf(tt.name), RuntimeStatus: schema.Some(tt.status),
			CompletedTime: tt.completed, LastUpdatedTime: tt.updated,
		}
		if rule, over := rules.Match(&i, schema.TicksOf(now)); rule != tt.rule || over != tt.over {
			t.Errorf("%s %s, completed %v, updated %v: rule %d, %v; want %d, %v", tt.name, tt.status, tt.completed, tt.updated, rule, over, tt.rule, tt.over)
		}
	}
	// However many stars, it ends soon.
	hard := policy("rules:\n- function: '" + strings.Repeat("*a", 500) + "b'\n  keep: 1d\n")
	i := schema.Instance{PartitionKey: "x", Name: schema.TextOf(strings.Repeat("a", 5000)), RuntimeStatus: schema.Some("Failed")}
	if rule, _ := hard.Match(&i, schema.TicksOf(now)); rule != -1 {
		t.Errorf("matched rule %d", rule)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add("rules:\n- {function: [A, B*], status: failed, keep: 1d2h, age: updated, name: x}\n")
	f.Add("a: &a [*a, *a]\n")
	f.Add("rules: &r\n- *r\n")
	f.Fuzz(func(_ *testing.T, text string) {
		p, err := manage.ParsePolicy(strings.NewReader(text))
		if err == nil {
			p.Match(&schema.Instance{PartitionKey: "x", Name: schema.TextOf(text), RuntimeStatus: schema.Some("Failed")}, 1)
		}
	})
}
