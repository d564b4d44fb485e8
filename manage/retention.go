package manage

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/taskhub-tools/taskhub/schema"
)

// Policy says how long orchestrations that have ended are kept. The first rule that
// matches one decides; one that no rule matches is kept.
type Policy struct{ Rules []Rule }

// Rule is one rule of a [Policy].
type Rule struct {
	// Name is for people; empty if the file has none.
	Name string
	// Line is where the rule stands in the file, from 1.
	Line int
	// Functions and Statuses are what an instance must have to match; nil is any.
	// In the name of a function * stands for any text and ? for one character.
	Functions []string
	Statuses  []schema.Status
	// Keep is for how long to keep an instance; Forever keeps it.
	Keep time.Duration
	// By says from when that counts.
	By Age
}

// Forever is the Keep of a rule that deletes nothing.
const Forever = time.Duration(math.MaxInt64)

// Age is what the age of an instance counts from.
type Age string

// AgeCompleted counts from CompletedTime, or from LastUpdatedTime for a row of old
// versions that has none. AgeUpdated counts from LastUpdatedTime. What has neither
// is kept.
const (
	AgeCompleted Age = "completed"
	AgeUpdated   Age = "updated"
)

// String names a rule for people.
func (r *Rule) String() string {
	if r.Name != "" {
		return r.Name
	}
	return "line " + strconv.Itoa(r.Line)
}

// Match returns the index of the rule that decides about an instance, or -1, and
// whether its time is over at now. Instances that have not ended, and entities,
// match no rule.
func (p *Policy) Match(i *schema.Instance, now schema.Ticks) (rule int, over bool) {
	if schema.IsEntity(i.ID()) || !i.Status().Terminal() {
		return -1, false
	}
	for n := range p.Rules {
		r := &p.Rules[n]
		if len(r.Statuses) > 0 && !slices.Contains(r.Statuses, i.Status()) {
			continue
		}
		if len(r.Functions) > 0 && !slices.ContainsFunc(r.Functions, func(pattern string) bool { return i.Name.Set && matchName(pattern, i.Name.Value) }) {
			continue
		}
		from := i.CompletedTime
		if r.By == AgeUpdated || !from.Set {
			from = i.LastUpdatedTime
		}
		return n, r.Keep != Forever && from.Set && from.Value != 0 && now.Time().Sub(from.Value.Time()) > r.Keep
	}
	return -1, false
}

// matchName reports whether a name has the form of a pattern with * and ?. It goes
// back only to the last *, so that no pattern takes long.
func matchName(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, retry := -1, 0
	for i, j := 0, 0; ; {
		switch {
		case i < len(p) && p[i] == '*':
			star, retry = i, j
			i++
		case j == len(n) && i == len(p):
			return true
		case j < len(n) && i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i, j = i+1, j+1
		case star >= 0 && retry < len(n):
			retry++
			i, j = star+1, retry
		default:
			return false
		}
	}
}

// PolicyError says what is wrong in a policy, and where.
type PolicyError struct {
	Line   int // from 1; 0 if the file as a whole is meant
	Reason string
}

// Error says it on one line.
func (e *PolicyError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// MaxPolicyBytes is how long the text of a policy may be.
const MaxPolicyBytes = 1 << 20

// ParsePolicy reads a policy: YAML with the list rules, each of which has keep and
// may have name, function, status and age.
//
//	rules:
//	  - function: Order*       # or a list
//	    status: [Failed]       # of those that end an instance
//	    keep: 90d              # of d, h, m and s, or forever
//	    age: completed         # or updated
//	  - keep: 30d
//
// Everything else in the text is a *[PolicyError], as is a rule that can never
// decide because one before it always does.
func ParsePolicy(r io.Reader) (*Policy, error) {
	d := yaml.NewDecoder(io.LimitReader(r, MaxPolicyBytes))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &PolicyError{0, "there is nothing in it"}
	case err != nil:
		return nil, &PolicyError{0, strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var more yaml.Node
	if err := d.Decode(&more); err == nil {
		return nil, &PolicyError{more.Line, "a second document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, &PolicyError{0, strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	top, err := members(doc.Content[0], "rules")
	if err != nil {
		return nil, err
	}
	rules := top["rules"]
	switch {
	case rules == nil:
		return nil, &PolicyError{doc.Content[0].Line, "rules is missing"}
	case rules.Kind != yaml.SequenceNode || len(rules.Content) == 0:
		return nil, &PolicyError{rules.Line, "rules: want a list"}
	}
	p := &Policy{}
	always := -1
	for _, n := range rules.Content {
		rule, err := parseRule(n)
		if err != nil {
			return nil, err
		}
		if always >= 0 {
			return nil, &PolicyError{rule.Line, fmt.Sprintf("the rule never decides: that of line %d matches everything", p.Rules[always].Line)}
		}
		if len(rule.Functions) == 0 && len(rule.Statuses) == 0 {
			always = len(p.Rules)
		}
		p.Rules = append(p.Rules, *rule)
	}
	return p, nil
}

// members returns the values of a mapping, which has no others than those named.
func members(n *yaml.Node, names ...string) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, &PolicyError{n.Line, "want names with values: " + strings.Join(names, ", ")}
	}
	found := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(names, key.Value):
			return nil, &PolicyError{key.Line, fmt.Sprintf("%q is unknown; want %s", key.Value, strings.Join(names, ", "))}
		case found[key.Value] != nil:
			return nil, &PolicyError{key.Line, key.Value + " is there twice"}
		}
		found[key.Value] = value
	}
	return found, nil
}

func parseRule(n *yaml.Node) (*Rule, error) {
	m, err := members(n, "name", "function", "status", "keep", "age")
	if err != nil {
		return nil, err
	}
	r := &Rule{Line: n.Line, By: AgeCompleted}
	if v := m["name"]; v != nil {
		if r.Name, err = scalar(v, "name"); err != nil {
			return nil, err
		}
	}
	if v := m["function"]; v != nil {
		err := each(v, "function", func(_ *yaml.Node, text string) error {
			r.Functions = append(r.Functions, text)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if v := m["status"]; v != nil {
		err := each(v, "status", func(n *yaml.Node, text string) error {
			all := schema.Statuses()
			i := slices.IndexFunc(all, func(s schema.Status) bool { return s.Terminal() && strings.EqualFold(s.String(), text) })
			if i < 0 {
				return &PolicyError{n.Line, fmt.Sprintf("status: %q does not end an instance; want Completed, Failed, Canceled or Terminated", text)}
			}
			r.Statuses = append(r.Statuses, all[i])
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if v := m["age"]; v != nil {
		text, err := scalar(v, "age")
		if err != nil {
			return nil, err
		}
		if r.By = Age(text); r.By != AgeCompleted && r.By != AgeUpdated {
			return nil, &PolicyError{v.Line, fmt.Sprintf("age: %q; want %s or %s", text, AgeCompleted, AgeUpdated)}
		}
	}
	v := m["keep"]
	if v == nil {
		return nil, &PolicyError{n.Line, "keep is missing"}
	}
	text, err := scalar(v, "keep")
	if err != nil {
		return nil, err
	}
	if r.Keep, err = parseKeep(text); err != nil {
		return nil, &PolicyError{v.Line, fmt.Sprintf("keep: %q %v", text, err)}
	}
	return r, nil
}

func scalar(n *yaml.Node, name string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Value == "" || n.Tag == "!!null" {
		return "", &PolicyError{n.Line, name + ": want a text"}
	}
	return n.Value, nil
}

// each calls do with a text, or with those of a list.
func each(n *yaml.Node, name string, do func(n *yaml.Node, text string) error) error {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		if nodes = n.Content; len(nodes) == 0 {
			return &PolicyError{n.Line, name + ": the list is empty"}
		}
	}
	for _, n := range nodes {
		text, err := scalar(n, name)
		if err == nil {
			err = do(n, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNoDuration = errors.New("is neither a time such as 30d, 12h or 1d12h nor forever")

// maxDays are about 100 years.
const maxDays = 36_500

// parseKeep reads a duration with days.
func parseKeep(text string) (time.Duration, error) {
	if text == "forever" {
		return Forever, nil
	}
	var keep time.Duration
	if days, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 31)
		if err != nil || n > maxDays {
			return 0, errNoDuration
		}
		keep, text = time.Duration(n)*24*time.Hour, rest
		if text == "" {
			return keep, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDays*24*time.Hour || strings.HasPrefix(text, "+") {
		return 0, errNoDuration
	}
	return keep + d, nil
}
