package migrate_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// some selects about one instance in so many, others for each seed.
func some(seed, in uint32) func(string) bool {
	return func(id string) bool {
		h := fnv.New32a()
		_, _ = fmt.Fprintf(h, "%d %s", seed, id)
		return h.Sum32()>>16%in == 0 // the last bits are those of single characters
	}
}

func not(f func(string) bool) func(string) bool { return func(id string) bool { return !f(id) } }

// selections are made of each recorded hub.
var selections = []struct{ seed, in uint32 }{{1, 2}, {2, 2}, {3, 8}}

// forEachPart calls do with each recorded hub and selection.
func forEachPart(t *testing.T, do func(t *testing.T, rec testhub.Recording, moves func(string) bool)) {
	for _, rec := range testhub.Recordings {
		if strings.Contains(rec.Name, "bulk") {
			continue // many rows, and nothing in flight
		}
		for n, s := range selections {
			if n > 0 && testing.Short() {
				break
			}
			t.Run(fmt.Sprintf("%s, one in %d by seed %d", rec.Name, s.in, s.seed), func(t *testing.T) { do(t, rec, some(s.seed, s.in)) })
		}
	}
}

// what names an item whatever the run: a message that was seen by its ID, one
// that was made by the ID that it was given, a row that changes by its keys.
func what(i *migrate.Item) string {
	switch {
	case i.Origin == migrate.Seen:
		return "seen " + i.MessageID
	case i.Edit != nil:
		return "row " + i.Edit.PartitionKey + "/" + i.Edit.RowKey
	case i.Message != nil:
		return fmt.Sprintf("%s %s of %s: %s", i.Origin, i.Kind, i.InstanceID, i.Message.ActivityID)
	}
	return fmt.Sprintf("%s %s %d of %s", i.Origin, i.Kind, i.EventID, i.InstanceID)
}

// Whatever is selected, each message moves or stays, none does both, and what
// neither has is cut off and named.
func TestSelectMessages(t *testing.T) {
	links, redriven := 0, 0
	forEachPart(t, func(t *testing.T, rec testhub.Recording, moves func(string) bool) {
		r := testhub.OpenHub(t, rec.Name)
		given := func(moves func(string) bool) (map[string]*migrate.Item, map[string]bool) {
			all, cut := make(map[string]*migrate.Item), make(map[string]bool)
			for _, i := range items(t, migrate.Pending(t.Context(), r, migrate.PendingOptions{Names: elsewhere, Select: moves})) {
				switch {
				case i.Origin == migrate.CutOff:
					cut[i.InstanceID+" > "+i.Peer] = true
				case i.Origin == migrate.Left:
					t.Errorf("message %s of a recording cannot be read", i.MessageID)
				case i.Kind == migrate.KindHidden:
				case all[what(&i)] != nil:
					t.Errorf("%s is given twice", what(&i))
				case moves != nil && !moves(i.InstanceID):
					t.Errorf("%s stays", what(&i))
				default:
					all[what(&i)] = &i
				}
			}
			return all, cut
		}
		whole, _ := given(nil)
		moved, cut := given(moves)
		left, cutThere := given(not(moves))
		for name, i := range whole {
			a, b := moved[name], left[name]
			switch {
			case a != nil && b != nil:
				t.Errorf("%s moves and stays", name)
			case a != nil && a.Text != i.Text && a.Message.ActivityID != i.Message.ActivityID, b != nil && b.Text != i.Text && b.Message.ActivityID != i.Message.ActivityID:
				t.Errorf("%s is another message with a selection", name)
			case a == nil && b == nil && i.Kind == migrate.KindChildStart && moves(i.InstanceID) != moves(i.Name) && i.Origin == migrate.Redriven:
				redriven++ // its parent would start it on the other side
				if !cut[i.InstanceID+" > "+i.Name] && !cutThere[i.InstanceID+" > "+i.Name] {
					t.Errorf("%s is cut off and not named", name)
				}
			case a == nil && b == nil && i.Kind == migrate.KindWakeUp && i.Origin == migrate.Redriven: // for nothing else
			case a == nil && b == nil:
				t.Errorf("%s neither moves nor stays", name)
			}
		}
		for name := range maps.Keys(moved) {
			if whole[name] == nil {
				t.Errorf("%s moves and is not in the whole hub", name)
			}
		}
		for name := range maps.Keys(left) {
			if whole[name] == nil {
				t.Errorf("%s stays and is not in the whole hub", name)
			}
		}
		facts := linksOf(t, r)
		if diff := cmp.Diff(facts.cut(moves), cut, empty); diff != "" {
			t.Errorf("links that are cut (-by the rows +got):\n%s", diff)
		}
		if diff := cmp.Diff(facts.cut(not(moves)), cutThere, empty); diff != "" {
			t.Errorf("links that are cut on the other side (-by the rows +got):\n%s", diff)
		}
		links += len(cut)
	})
	if links == 0 || redriven == 0 {
		t.Errorf("%d links were cut and %d children not redriven: the recordings have none", links, redriven)
	}
	t.Logf("%d links were cut, %d children not redriven", links, redriven)
}

var empty = cmp.FilterValues(func(a, b map[string]bool) bool { return len(a)+len(b) == 0 }, cmp.Ignore())

// Rows and blobs move with their instance, and all of them do.
func TestSelectCopies(t *testing.T) {
	forEachPart(t, func(t *testing.T, rec testhub.Recording, moves func(string) bool) {
		r := testhub.OpenHub(t, rec.Name)
		before := testhub.ContentOf(t, r)
		opts := moving(t, r, "http://127.0.0.1:1/account")
		opts.AcceptLost = true
		var rows, blobs []string
		for name, moves := range map[string]func(string) bool{"the part that moves": moves, "the rest": not(moves)} {
			opts.Select = moves
			to := newMemoryTarget(elsewhere, opts.Now)
			report, err := migrate.Run(t.Context(), r, to, opts)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			after := to.memory().Content
			wantRows, wantBlobs := selectedPart(t, &before, moves)
			gotRows, gotBlobs := targetPart(&after)
			if diff := cmp.Diff(wantRows, gotRows); diff != "" {
				t.Errorf("rows of %s (-want +got):\n%s", name, diff)
			}
			if diff := cmp.Diff(wantBlobs, gotBlobs); diff != "" {
				t.Errorf("blobs of %s (-want +got):\n%s", name, diff)
			}
			if n := report.Plan.Rows[hub.Instances] + report.Plan.Rows[hub.History]; n != int64(len(wantRows)) || report.Plan.Blobs != int64(len(wantBlobs)) {
				t.Errorf("%s: the plan counts %d rows and %d blobs, want %d and %d", name, n, report.Plan.Blobs, len(wantRows), len(wantBlobs))
			}
			if has := slices.ContainsFunc(after.Containers, func(c hub.Container) bool { return c.Name == elsewhere.LargeMessages() }); has != (len(wantBlobs) > 0) {
				t.Errorf("%s: the container of payloads exists: %t, with %d of them", name, has, len(wantBlobs))
			}
			rows, blobs = append(rows, gotRows...), append(blobs, gotBlobs...)
		}
		allRows, allBlobs := selectedPart(t, &before, func(string) bool { return true })
		slices.Sort(rows)
		slices.Sort(blobs)
		if diff := cmp.Diff(allRows, rows); diff != "" {
			t.Errorf("rows of both parts (-whole +got):\n%s", diff)
		}
		if diff := cmp.Diff(allBlobs, blobs); diff != "" {
			t.Errorf("blobs of both parts (-whole +got):\n%s", diff)
		}
	})
}

// selectedPart returns the keys of rows and the names of blobs of some instances. That a
// blob of a column is of an instance its folder tells, of a message the message.
func selectedPart(t testing.TB, c *hubtest.Content, moves func(string) bool) (rows, blobs []string) {
	t.Helper()
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		for _, row := range c.Tables[table] {
			if moves(schema.InstanceID(row.PartitionKey)) {
				rows = append(rows, table.String()+" "+row.PartitionKey+"/"+row.RowKey)
			}
		}
	}
	for _, b := range c.Blobs {
		if b.Container != c.Names.LargeMessages() {
			continue
		}
		slash := strings.LastIndexByte(b.Name, '/')
		owner := schema.InstanceID(b.Name[:slash])
		if strings.HasPrefix(b.Name[slash+1:], "message-") {
			owner = messageOwner(t, b.Data)
		}
		if moves(owner) {
			blobs = append(blobs, b.Name)
		}
	}
	slices.Sort(rows)
	slices.Sort(blobs)
	return rows, blobs
}

func messageOwner(t testing.TB, packed []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		TaskMessage struct{ OrchestrationInstance struct{ InstanceID string } }
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m.TaskMessage.OrchestrationInstance.InstanceID
}

// targetPart returns what a target has of selectedPart. Blobs that were made for messages are
// no part of it.
func targetPart(c *hubtest.Content) (rows, blobs []string) {
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		for _, row := range c.Tables[table] {
			rows = append(rows, table.String()+" "+row.PartitionKey+"/"+row.RowKey)
		}
	}
	for _, b := range c.Blobs {
		if b.Container == c.Names.LargeMessages() {
			blobs = append(blobs, b.Name)
		}
	}
	slices.Sort(rows)
	slices.Sort(blobs)
	return rows, blobs
}

// packed is a payload with a text.
func packed(t testing.TB, text string) []byte {
	t.Helper()
	_, data, err := hub.PackText("", "", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Payloads whose names do not tell for certain whose they are move only with the
// instance that has them.
func TestSelectBlobs(t *testing.T) {
	const number = "0123456789abcdef0123456789abcdef"
	s := newShape()
	container := s.Names.LargeMessages()
	s.Containers = []hub.Container{{Name: container}}
	for _, b := range []struct{ name, text string }{
		{"a^0b/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz", "1"},
		{"a^1b/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz", "2"},
		{"a/b/message-" + number + "-TaskCompleted.json.gz", raisedPosted("a/b", "e", "1")},
		{"a/b/message-" + number + "-TaskFailed.json.gz", raisedPosted(`a\\b`, "e", "1")},
		{"a/b/message-" + number + "-TimerFired.json.gz", "no message"},
		{"Order/message-" + number + "-TaskCompleted.json.gz", "looked at by nobody"},
		{"order/message-" + number + "-TaskCompleted.json.gz", "looked at by nobody"},
		// As versions up to 1.6.3 named them.
		{"order/message-0000000000000001-taskcompleted.json.gz", raisedPosted("Order", "e", "1")},
		{"order/history-0000000000000001-taskcompleted-result.json.gz", "named by a row of Order"},
		{"order/history-0000000000000002-taskcompleted-result.json.gz", "named by no row"},
		{"w^2x/history-0000000000000001-TaskCompleted-Result.json.gz", "3"},
		{"w#x/message-" + number + "-TaskCompleted.json.gz", "looked at by nobody"},
		{"p/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz", "named by a row of Order, too"},
		{"q/message-" + number + "-ExecutionStarted.json.gz", "named by the row of p"},
		{"r/message-" + number + "-EventRaised.json.gz", raisedPosted("p", "e", "1")},
		{"Order/readme.txt", "no payload"},
		{"readme.txt", "no payload"},
	} {
		data := packed(t, b.text)
		s.Blobs = append(s.Blobs, hubtest.Blob{Blob: hub.Blob{Container: container, Name: b.name, SizeBytes: int64(len(data))}, Data: data})
	}
	s.Blobs[4].Data = []byte("not gzip")
	s.Blobs[4].SizeBytes = 8
	for _, id := range []string{"a/b", `a\b`, "Order", "order", "w#x", "p"} {
		s.running(id)
	}
	for n := range s.Tables[hub.History] {
		if row := &s.Tables[hub.History][n]; row.PartitionKey == "Order" && row.RowKey == schema.FormatSequence(2) {
			row.Set("ResultBlobName", schema.String("order/history-0000000000000001-taskcompleted-result.json.gz"))
			row.Set("DetailsBlobName", schema.String("p/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz"))
		}
	}
	s.Tables[hub.Instances][5].Set("Input", schema.String("https://x.blob.core.windows.net/shape-largemessages/q/message-"+number+"-ExecutionStarted.json.gz"))
	s.post(0, "m", wrapperPosted("r/message-"+number+"-EventRaised.json.gz"))
	s.Sort()
	for id, want := range map[string][]string{
		"a/b": {"a/b/message-" + number + "-TaskCompleted.json.gz", "a^0b/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz"},
		`a\b`: {"a/b/message-" + number + "-TaskFailed.json.gz", "a^1b/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz"},
		"Order": {
			"Order/message-" + number + "-TaskCompleted.json.gz", "order/history-0000000000000001-taskcompleted-result.json.gz",
			"order/message-0000000000000001-taskcompleted.json.gz", "p/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz",
		},
		"order": {"order/message-" + number + "-TaskCompleted.json.gz"},
		"w#x":   {"w#x/message-" + number + "-TaskCompleted.json.gz", "w^2x/history-0000000000000001-TaskCompleted-Result.json.gz"},
		"p": {
			"p/history-0000000000000001-TaskCompleted-0000ABCD-Result.json.gz", "q/message-" + number + "-ExecutionStarted.json.gz",
			"r/message-" + number + "-EventRaised.json.gz",
		},
		"nobody": nil,
	} {
		opts := migrate.Options{
			Names: elsewhere, Now: func() time.Time { return minute(10).Time() }, Running: stopped, Select: only(id),
			BlobURL: func(container, name string) string {
				return schema.BlobURL("http://127.0.0.1:1/account", container, name)
			},
		}
		to := newMemoryTarget(elsewhere, opts.Now)
		if _, err := migrate.Run(t.Context(), testhub.NewMemory(s.Content), to, opts); err != nil {
			t.Fatal(err)
		}
		after := to.memory().Content
		_, got := targetPart(&after)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("blobs of %s (-want +got):\n%s", id, diff)
		}
	}
}

// A part of a live hub is copied and found to be there, and the source is only
// read. What the target has of other instances is found.
func TestSelectLive(t *testing.T) {
	capture := testhub.OpenHub(t, "functions-3-after-write")
	e := testhub.Azurite(t)
	testhub.LoadRecorded(t, e, "functions-3-after-write")
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	from, err := live.Open(t.Context(), cfg, names(t, capture), live.Options{Transport: testhub.ReadOnly(t, http.DefaultTransport)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	other := testhub.Azurite(t)
	opts := moving(t, capture, other.BlobURL)
	opts.Running, opts.AcceptLost, opts.Select = stopped, true, schema.IsEntity
	to := target(t, other, elsewhere, nil)
	report, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	before, after := testhub.ContentOf(t, capture), testhub.ContentOf(t, to)
	wantRows, wantBlobs := selectedPart(t, &before, schema.IsEntity)
	gotRows, gotBlobs := targetPart(&after)
	if diff := cmp.Diff([][]string{wantRows, wantBlobs}, [][]string{gotRows, gotBlobs}); diff != "" || len(wantRows) == 0 {
		t.Errorf("rows and blobs (-want +got):\n%s", diff)
	}
	sent := int64(0)
	for _, q := range after.Queues {
		sent += q.ApproximateCount
		for _, m := range q.Messages {
			loaded, err := hub.LoadMessage(t.Context(), to, elsewhere.LargeMessages(), &m, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, w := identify(t, loaded.JSON); !schema.IsEntity(w.TaskMessage.OrchestrationInstance.InstanceID) {
				t.Errorf("message for %s", w.TaskMessage.OrchestrationInstance.InstanceID)
			}
		}
	}
	if sent != report.Messages || sent == 0 {
		t.Errorf("%d messages are in the queues, %d were sent", sent, report.Messages)
	}

	another := testhub.Azurite(t)
	another.CreateTables(t, "ElsewhereInstances")
	for _, row := range before.Tables[hub.Instances] {
		if !schema.IsEntity(row.PartitionKey) {
			another.Insert(t, "ElsewhereInstances", []schema.Row{row})
			break
		}
	}
	opts.Resume = true
	opts.Journal = begunJournal(t, from, opts).read(t)
	report, err = migrate.Run(t.Context(), from, target(t, another, elsewhere, nil), opts)
	if !errors.Is(err, migrate.ErrDiffers) || len(report.Differences) != 1 || report.Differences[0].Kind != migrate.KindUnexpected {
		t.Errorf("Run into a hub with another instance = %v with %v", err, report.Differences)
	}
}

// What is cut off is a reason to refuse, and AcceptLost lifts it.
func TestSelectRefuses(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1-odd")
	opts := moving(t, r, "http://127.0.0.1:1/account")
	opts.Select = some(1, 2)
	to := newMemoryTarget(elsewhere, opts.Now)
	report, err := migrate.Run(t.Context(), r, to, opts)
	var refused *migrate.RefusedError
	if !errors.As(err, &refused) || len(refused.Refusals) != 1 || refused.Refusals[0].Code != migrate.RefusedCutOff {
		t.Fatalf("Run = %v, want a refusal because of what is cut off", err)
	}
	p := report.Plan
	if want := int64(len(linksOf(t, r).cut(opts.Select))); p.CutOffItems != want || int64(len(p.CutOff)) != want {
		t.Errorf("the plan counts %d links and names %d, want %d", p.CutOffItems, len(p.CutOff), want)
	}
	if !strings.Contains(refused.Refusals[0].Detail, fmt.Sprint(p.CutOffItems)) || !strings.Contains(refused.Refusals[0].Detail, p.CutOff[0].InstanceID) {
		t.Errorf("the refusal says %q", refused.Refusals[0].Detail)
	}
	if p.Hidden != -1 || p.LostItems != 0 {
		t.Errorf("%d messages are hidden, want -1; %d items are lost", p.Hidden, p.LostItems)
	}
	opts.AcceptLost = true
	if _, err := migrate.Run(t.Context(), r, to, opts); err != nil {
		t.Errorf("Run that accepts it = %v", err)
	}
}

// Only blobs that move can be too large.
func TestSelectLargeBlob(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	opts := moving(t, r, "http://127.0.0.1:1/account")
	opts.MaxBlobBytes = 100
	for moves, want := range map[string]bool{"order-1": true, "event-timeout": false} {
		opts.Select = only(moves)
		plan, err := migrate.Plan(t.Context(), r, newMemoryTarget(elsewhere, opts.Now), opts)
		if err != nil {
			t.Fatal(err)
		}
		refused := slices.ContainsFunc(plan.Refusals, func(r migrate.Refusal) bool { return r.Code == migrate.RefusedBlob })
		if refused != want || refused != (plan.Blobs > 0) {
			t.Errorf("%s has %d blobs, refused: %t, want %t", moves, plan.Blobs, refused, want)
		}
	}
}
