package server_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// evil is markup that would change the page, or its title, if it were taken for
// that.
const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script></pre><h1>owned</h1>&lt;b&gt;`

// oddID is an instance ID of 256 UTF-16 units with whatever an ID can have.
var oddID = func() string {
	id := "<script>document.title='owned'</script>\"'`" + "/..//\\#?&=%2F%00;+ " + "\u202eright to left\u202c אבג \u200f" +
		"\x01\x1f\x7f\u0085\u2028" + "👩‍👩‍👧‍👦 é e\u0301 ﷽ ^0^^ @x@y {}[]()|~"
	return id + strings.Repeat("z", 256-schema.UTF16Len(id))
}()

// bigOutput is an output of 50 MB that says something else at its beginning, middle
// and end.
var bigOutput = `{"first":"` + evil2JSON + `","items":[` + strings.TrimSuffix(strings.Repeat(`"0123456789012345678901234567890123456789",`, 50<<20/43), ",") + `],"last":true}`

const evil2JSON = `<script>document.title='owned'</script>`

// hostileHub has an instance with oddID whose texts are all evil, and one with a big
// output.
func hostileHub(t testing.TB) hubtest.Content {
	t.Helper()
	c := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3"))
	var history, instance []schema.Row
	for _, row := range c.Tables[hub.History] {
		if row.PartitionKey == "wait-1" {
			history = append(history, row.Clone())
		}
	}
	for _, row := range c.Tables[hub.Instances] {
		if row.PartitionKey == "wait-1" {
			instance = append(instance, row.Clone())
		}
	}
	if len(history) < 4 || len(instance) != 1 {
		t.Fatalf("wait-1 has %d rows of history and %d of its own", len(history), len(instance))
	}
	odd := instance[0].Clone()
	odd.PartitionKey = schema.EscapeKey(oddID)
	for _, column := range []string{"Input", "Output", "CustomStatus", "Name"} {
		odd.Set(column, schema.String(evil))
	}
	big := instance[0].Clone()
	big.PartitionKey = "big"
	big.Set("RuntimeStatus", schema.String("Completed"))
	big.Set("Output", schema.String("http://127.0.0.1:10000/devstoreaccount1/funclab-largemessages/big/output.json.gz"))
	c.Tables[hub.Instances] = append(c.Tables[hub.Instances], odd, big)
	b, data, err := hub.PackText(c.Names.LargeMessages(), "big/output.json.gz", []byte(bigOutput))
	if err != nil {
		t.Fatal(err)
	}
	c.Blobs = append(c.Blobs, hubtest.Blob{Blob: b, Data: data})

	var last int64
	for i := range history {
		history[i].PartitionKey = odd.PartitionKey
		if name, _ := history[i].Get("EventType").Text(); name == "ExecutionStarted" {
			history[i].Set("Name", schema.String(evil))
			history[i].Set("Input", schema.String(evil))
		}
		if n, ok := schema.ParseSequence(history[i].RowKey); ok {
			last = n
		}
	}
	event := func(kind string, id int32, set map[string]schema.Value) {
		last++
		row := history[0].Clone()
		row.RowKey = schema.FormatSequence(last)
		row.Set("EventType", schema.String(kind))
		row.Set("EventId", schema.Int32(id))
		for _, column := range slices.Sorted(func(yield func(string) bool) {
			for k := range set {
				if !yield(k) {
					return
				}
			}
		}) {
			row.Set(column, set[column])
		}
		history = append(history, row)
	}
	event("OrchestratorStarted", -1, nil)
	event("EventRaised", -1, map[string]schema.Value{"Name": schema.String(evil), "Input": schema.String(evil)})
	event("TaskScheduled", 40, map[string]schema.Value{"Name": schema.String(evil)})
	event("SubOrchestrationInstanceCreated", 41, map[string]schema.Value{"Name": schema.String(evil), "InstanceId": schema.String(oddID), "Input": schema.String(evil)})
	event(evil, 42, map[string]schema.Value{evil: schema.String(evil)})
	event("TaskFailed", -1, map[string]schema.Value{"TaskScheduledId": schema.Int32(40), "Reason": schema.String(evil), "Details": schema.String(evil)})
	event("OrchestratorCompleted", -1, nil)
	c.Tables[hub.History] = append(c.Tables[hub.History], history...)
	c.Sort()
	return c
}

// notOwned fails the test if anything of a hub was taken for markup.
func notOwned(t *testing.T, p *testhub.Page, where string) {
	t.Helper()
	var found struct {
		Title   string
		Owned   int
		Scripts []string
		Styled  int
	}
	p.Evaluate(`({
		title: document.title,
		owned: [...document.querySelectorAll('h1')].filter((e) => e.textContent === 'owned').length + document.querySelectorAll('img, iframe, object, embed').length,
		scripts: [...document.scripts].map((s) => s.getAttribute('src') ?? s.textContent),
		styled: document.querySelectorAll('style').length,
	})`, &found)
	if found.Title == "owned" || found.Owned > 0 || found.Styled > 0 || !slices.Equal(found.Scripts, []string{"page/theme.js", "page/app.js"}) {
		t.Errorf("%s: text was taken for markup: %+v", where, found)
	}
}

// What a hub holds is shown as it is and does nothing, whatever it says.
func TestPageHostileText(t *testing.T) {
	e := testhub.NewEditor(hostileHub(t))
	p := testhub.StartBrowser(t).Open(t, serving(t, pageOptions(server.Hub{Reader: e, Editor: e})), testhub.PageOptions{})
	same := func(what, expression, want string) {
		t.Helper()
		var got string
		p.Evaluate(expression, &got)
		if got != want {
			t.Errorf("%s: shown as %q, want %q", what, got, want)
		}
	}
	p.Fill(role("searchbox", "Search by ID or function"), "<SCRIPT>document.title='owned'</script>\"'`/..//\\#?")
	p.Until(quiet + ` && document.querySelectorAll('tbody tr').length === 1`)
	same("the ID in the list", `document.querySelector('tbody .id').dataset.id`, oddID)
	same("the function in the list", `document.querySelector('tbody .function').textContent`, evil)
	notOwned(t, p, "list")
	p.Click(css("tbody .row-link"))
	p.Until(quiet + ` && document.querySelectorAll('.payload pre').length === 3`)
	same("the ID", `document.querySelector('h1 .id').dataset.id`, oddID)
	// Characters that cannot be seen are named where they are.
	var marks []string
	p.Evaluate(`[...document.querySelectorAll('h1 .mark')].map((e) => e.textContent)`, &marks)
	if want := []string{"U+202E", "U+202C", "U+200F", "U+0001", "U+001F", "U+007F", "U+0085", "U+2028", "U+200D", "U+200D", "U+200D"}; !slices.Equal(marks, want) {
		t.Errorf("hidden characters of the ID: %q, want %q", marks, want)
	}
	for i, what := range []string{"input", "output", "custom status"} {
		same(what, fmt.Sprintf(`document.querySelectorAll('.payload pre')[%d].textContent`, i), evil)
	}
	notOwned(t, p, "overview")
	for tab, ready := range map[string]string{
		"Timeline": ".gantt-rows", "Sequence": "svg.sequence", "History": ".history", "Diagnosis": ".verdict",
	} {
		p.Click(role("link", tab))
		p.Wait(css(ready))
		p.Until(quiet)
		notOwned(t, p, tab)
	}
	p.Click(role("link", "History"))
	p.Wait(css(".history"))
	var texts []string
	p.Evaluate(`[...document.querySelectorAll('.history .function, .history .event > :last-child, .history .text-head .mono')].map((e) => e.textContent).filter((s) => s.includes('owned'))`, &texts)
	if i := slices.IndexFunc(texts, func(s string) bool { return s != evil }); i >= 0 || len(texts) < 6 {
		t.Errorf("the history shows %q, want all %q", texts, evil)
	}
	p.Evaluate(`document.querySelectorAll('.history button[aria-expanded]').forEach((b) => b.click())`, nil)
	p.Until(quiet + ` && document.querySelectorAll('tr.detail table').length > 5`)
	notOwned(t, p, "events")

	// It can be operated all the same.
	p.Click(role("button", "Raise event"))
	p.Fill(role("textbox", "Event name"), evil)
	p.Fill(role("textbox", "Data"), `{"a": "</script>"}`)
	p.Click(css("dialog .primary"))
	p.Wait(css("dialog .good"))
	posted := e.Posted()
	if len(posted) != 1 {
		t.Fatalf("posted: %+v", posted)
	}
	m, err := schema.DecodeMessage(posted[0].Text, "posted")
	if err != nil {
		t.Fatal(err)
	}
	raised, ok := m.TaskMessage.Event.(*schema.EventRaised)
	if to, _ := m.Target(); !ok || to != oddID || raised.Name.Value != evil || raised.Input.Value != `{"a":"</script>"}` {
		t.Errorf("posted: %s", posted[0].Text)
	}
	notOwned(t, p, "dialog")
	p.Press("Escape")
	looked(t, p)
}

// An output of 50 MB is shown by its beginning and given whole.
func TestPageBigOutput(t *testing.T) {
	e := testhub.NewEditor(hostileHub(t))
	origin := serving(t, pageOptions(server.Hub{Reader: e}))
	p := testhub.StartBrowser(t).Open(t, origin+"/#/hubs/Storage/FuncLab/instance/big", testhub.PageOptions{})
	p.Wait(role("button", "Download Output"))
	p.Until(quiet)
	var shown int
	p.Evaluate(`document.body.textContent.length`, &shown)
	if shown < 60_000 || shown > 400_000 {
		t.Errorf("the page holds %d characters, want the first 64 KB of the output", shown)
	}
	if notice := p.Text(css(".payload .notice")); !strings.Contains(notice, "50 MB") {
		t.Errorf("the page says %q", notice)
	}
	file := filepath.Join(t.TempDir(), "output")
	if name := p.Download(role("button", "Download Output"), file); name != "FuncLab-big-output.txt" {
		t.Errorf("the file is called %q", name)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(bigOutput) || sha256.Sum256(got) != sha256.Sum256([]byte(bigOutput)) {
		t.Errorf("downloaded %d bytes, want the %d of the output", len(got), len(bigOutput))
	}
	notOwned(t, p, "overview")
	p.Click(role("button", "Raw"))
	p.Click(role("link", "History"))
	p.Wait(css(".empty"))
	p.Click(role("link", "Overview"))
	p.Wait(role("button", "Download Output"))
	looked(t, p)
}
