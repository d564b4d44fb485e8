package migrate_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// landed is all of a hub in an account.
type landed struct {
	e       *testhub.Emulator
	content hubtest.Content
	blobs   map[string]string // large messages, unpacked
	letters []*letter
}

func look(t testing.TB, e *testhub.Emulator, names hub.Names) *landed {
	t.Helper()
	l := &landed{e: e, content: testhub.ContentOf(t, openLive(t, e, names))}
	l.blobs = unpacked(t, &l.content)
	for _, q := range l.content.Queues {
		for _, m := range e.AllMessages(t, q.Name) {
			letter := open(t, q.Name, m.Text, l.blobs)
			letter.taken = m.VisibleAt.Time()
			letter.wait = letter.taken.Sub(m.InsertedAt.Time())
			if m.ExpiresAt.Time().Year() != 9999 {
				t.Errorf("%s expires %s", letter.identity(), m.ExpiresAt)
			}
			l.letters = append(l.letters, letter)
		}
	}
	return l
}

// outcome says how a recorded hub must come out of a migration.
type outcome struct {
	names      hub.Names
	partitions int
	manager    migrate.PartitionManager
	version1   bool
	base64     bool
	now        time.Time            // by which delays were counted
	seen       func(l *letter) bool // what of the source could be read
	// wasVersion1 says that messages have been made for version 1 on the way.
	wasVersion1 bool
	foreign     []string // words that tell of the source, in lower case
}

// tally counts what became of the messages of the source.
type tally struct{ Seen, Rebuilt, Redriven, Woken, Gone int }

// check compares a hub with what must have become of the source.
func (s *source) check(t *testing.T, got *landed, want *outcome) tally {
	t.Helper()
	count, redriven := s.checkMessages(t, got, want)
	s.checkTables(t, got, want, redriven)
	s.checkLarge(t, got)
	checkNew(t, got, want)
	s.checkForeign(t, got, want.foreign)
	return count
}

// action is one that an orchestration has begun.
type action struct {
	instance string
	number   int
}

// checkMessages compares what is in the queues, hidden messages included, and
// returns the actions whose rows must be neutralised.
func (s *source) checkMessages(t *testing.T, got *landed, want *outcome) (tally, map[action]bool) {
	t.Helper()
	var count tally
	seen := func(kinds []string, instance string, n int) bool {
		return slices.ContainsFunc(s.letters, func(l *letter) bool {
			return want.seen(l) && slices.Contains(kinds, l.kind) && l.instance == instance && l.number == n
		})
	}
	there := make(map[string][]*letter)
	for _, l := range got.letters {
		there[l.identity()] = append(there[l.identity()], l)
		queue := want.names.WorkItemQueue()
		if l.kind != "TaskScheduled" {
			queue = fmt.Sprintf("%s-control-%02d", strings.ToLower(want.names.TaskHub), fnv1a(l.instance)%uint32(want.partitions))
		}
		if l.queue != queue {
			t.Errorf("%s is in queue %s, want %s", l.identity(), l.queue, queue)
		}
		if l.base64 != want.base64 {
			t.Errorf("%s: Base64 is %t", l.identity(), l.base64)
		}
	}
	// take removes a message from those that are there; nil if there is none.
	take := func(identity string, ok func(*letter) bool) *letter {
		for i, l := range there[identity] {
			if ok(l) {
				there[identity] = slices.Delete(there[identity], i, i+1)
				return l
			}
		}
		return nil
	}
	for _, l := range s.letters {
		if !want.seen(l) {
			continue
		}
		count.Seen++
		switch found := take(l.identity(), func(m *letter) bool { return m.text == l.text }); {
		case found == nil:
			t.Errorf("%s can be seen and was not carried over", l.identity())
		case found.wait != 0 || found.whole != l.whole:
			t.Errorf("%s waits %s and is %s, want %s", l.identity(), found.wait, found.whole, l.whole)
		}
	}
	redriven, woken, done := make(map[action]bool), make(map[string]bool), make(map[string]bool)
	for _, l := range s.letters {
		if want.seen(l) {
			continue
		}
		switch f, instance, n := s.fateOf(l, seen); {
		case f == fateRebuilt && !done[l.identity()]:
			done[l.identity()] = true
			count.Rebuilt++
			if found := take(l.identity(), func(*letter) bool { return true }); found == nil {
				t.Errorf("%s is missing", l.identity())
			} else {
				l.compare(t, found, want)
			}
		case f == fateRedriven:
			redriven[action{instance, n}] = true
			if !seen([]string{"GenericEvent"}, instance, -1) {
				woken[instance] = true
			}
		default:
			count.Gone++
		}
	}
	count.Redriven, count.Woken = len(redriven), len(woken)
	for instance := range woken {
		l := &letter{kind: "GenericEvent", instance: instance, number: -1}
		if found := take(l.identity(), func(*letter) bool { return true }); found == nil {
			t.Errorf("nothing wakes %s", instance)
		} else if found.wait != 0 || found.sender != "" {
			t.Errorf("what wakes %s waits %s: %s", instance, found.wait, found.whole)
		}
	}
	for identity, rest := range there {
		for _, l := range rest {
			t.Errorf("%s was in no queue, or is there twice: %s", identity, l.whole)
		}
	}
	return count, redriven
}

// unknowable lists what the tables do not tell of a message that is rebuilt, as
// paths into its JSON.
//
//   - ActivityId and SequenceNumber are of the process that sent it.
//   - The message and the row of a timer, or of a signal, are made one after the
//     other: their times differ by microseconds.
//   - The reason for a rewind and its time are nowhere else.
//   - The episode of the parent that has started a sub-orchestration is not looked
//     up where the child's own rows tell all the rest.
var unknowable = map[string][]string{
	"":                        {"ActivityId", "SequenceNumber"},
	"TimerFired":              {"TaskMessage.Event.Timestamp"},
	"EventRaised":             {"TaskMessage.Event.Timestamp"},
	"GenericEvent":            {"TaskMessage.Event.Timestamp", "TaskMessage.Event.Data"},
	"ExecutionStarted parent": {"Episode"},
}

// compare compares a message that was rebuilt with the recorded one, field by
// field.
func (l *letter) compare(t *testing.T, found *letter, want *outcome) {
	t.Helper()
	kind := l.kind
	if l.parent != "" {
		kind += " parent"
	}
	trees := [2]object{parse(t, []byte(l.whole)), parse(t, []byte(found.whole))}
	var times [2]string
	for i, tree := range trees {
		times[i] = textIn(objectIn(objectIn(tree, "TaskMessage"), "Event"), "Timestamp")
		for _, path := range append(unknowable[""], unknowable[kind]...) {
			o, names := tree, strings.Split(path, ".")
			for _, name := range names[:len(names)-1] {
				o = objectIn(o, name)
			}
			delete(o, names[len(names)-1])
		}
		if event := objectIn(objectIn(tree, "TaskMessage"), "Event"); want.version1 || want.wasVersion1 || l.version1() {
			_, newer := event["GenerateNewTrace"]
			if i == 1 && want.version1 && newer && found.blob == "" {
				t.Errorf("%s is not of version 1: %s", found.identity(), found.whole)
			}
			delete(event, "GenerateNewTrace")
			if l.kind == "TaskScheduled" {
				delete(event, "Tags")
			}
		}
	}
	if diff := cmp.Diff(trees[0], trees[1]); diff != "" {
		t.Errorf("%s (-recorded +rebuilt):\n%s", l.identity(), diff)
	}
	if l.kind == "TimerFired" || l.kind == "EventRaised" {
		if apart := instant(t, times[0]).Sub(instant(t, times[1])).Abs(); apart > time.Millisecond {
			t.Errorf("%s is of %s, want %s", l.identity(), times[1], times[0])
		}
	}
	if l.blob != "" && found.blob != l.blob {
		t.Errorf("%s is in blob %q, want %q", l.identity(), found.blob, l.blob)
	}
	// Delays are of whole seconds and never longer than what is left.
	due, at := dueOf(t, l), want.now.Add(found.wait)
	if early := due.Sub(at); found.wait%time.Second != 0 || early < 0 && found.wait > 0 || early >= time.Second && due.After(want.now) {
		t.Errorf("%s can be taken %s, want up to a second before %s", l.identity(), at, due)
	}
	if later := l.due.Time().Sub(at).Abs(); l.due.Time().After(want.now.Add(time.Minute)) && later > time.Second {
		t.Errorf("%s can be taken %s, want %s as it was", l.identity(), at, l.due.Time())
	}
}

// version1 reports whether a message is of version 1.x of the framework.
func (l *letter) version1() bool {
	_, ok := objectIn(objectIn(l.tree, "TaskMessage"), "Event")["GenerateNewTrace"]
	return l.kind == "ExecutionStarted" && !ok
}

// dueOf says when a message is due, by what it holds itself; the zero time is at
// once.
func dueOf(t testing.TB, l *letter) time.Time {
	t.Helper()
	event := objectIn(objectIn(l.tree, "TaskMessage"), "Event")
	at := textIn(event, "FireAt")
	switch l.kind {
	case "ExecutionStarted":
		at = textIn(event, "ScheduledStartTime")
	case "EventRaised":
		_, at, _ = strings.Cut(textIn(event, "Name"), "@")
	}
	if at == "" {
		return time.Time{}
	}
	return instant(t, at)
}

// checkTables compares rows: only what is documented may have changed.
func (s *source) checkTables(t *testing.T, got *landed, want *outcome, redriven map[action]bool) {
	t.Helper()
	from := s.content.Names
	left := maps.Clone(redriven)
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		recorded, rows := s.content.Tables[table], got.content.Tables[table]
		if len(recorded) != len(rows) {
			t.Errorf("%s has %d rows, want %d", table, len(rows), len(recorded))
			continue
		}
		for i := range recorded {
			wantRow, gotRow := tree(t, &recorded[i]), tree(t, &rows[i])
			switch of := (action{schema.InstanceID(recorded[i].PartitionKey), numberIn(wantRow, "EventId")}); {
			case table == hub.Instances:
				if textIn(wantRow, "TaskHubName") != "" {
					wantRow["TaskHubName"] = want.names.TaskHub
				}
				for _, column := range []string{"Input", "Output"} {
					value := textIn(wantRow, column)
					container := "/" + strings.ToLower(from.TaskHub) + "-largemessages/"
					if _, name, ok := strings.Cut(value, container); ok && strings.HasPrefix(value, "http") {
						wantRow[column] = got.e.BlobURL + "/" + strings.ToLower(want.names.TaskHub) + "-largemessages/" + name
					}
				}
			case left[of] && textIn(wantRow, "ExecutionId") == s.records[of.instance].execution:
				kind := textIn(wantRow, "EventType")
				if kind != "TaskScheduled" && kind != "SubOrchestrationInstanceCreated" {
					break
				}
				delete(left, of)
				wantRow["EventType"], wantRow["Reason"] = "GenericEvent", "Rewound: "+kind
			}
			if diff := cmp.Diff(wantRow, gotRow); diff != "" {
				t.Errorf("row of %s (-want +got):\n%s", table, diff)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("history does not have what must be redriven: %v", left)
	}
}

// tree returns what is stored of a row.
func tree(t testing.TB, row *schema.Row) object {
	t.Helper()
	r := *row
	r.Timestamp, r.ETag = 0, ""
	return parse(t, r.AppendJSON(nil))
}

// checkLarge compares the blobs of large messages. What was made of messages that
// are too large for a queue comes on top.
func (s *source) checkLarge(t *testing.T, got *landed) {
	t.Helper()
	made := make(map[string]bool)
	for _, l := range got.letters {
		made[l.blob] = true
	}
	data := make(map[string]string)
	for _, b := range got.content.Blobs {
		if b.Container == got.content.Names.LargeMessages() {
			data[b.Name] = string(b.Data)
			if b.ContentType != "application/octet-stream" {
				t.Errorf("blob %s is %s", b.Name, b.ContentType)
			}
		}
	}
	for _, b := range s.content.Blobs {
		if b.Container != s.content.Names.LargeMessages() {
			continue
		}
		if found, ok := data[b.Name]; !ok || found != string(b.Data) {
			t.Errorf("blob %s: there %t, of %d bytes, want %d", b.Name, ok, len(found), len(b.Data))
		}
		delete(data, b.Name)
	}
	for name := range data {
		if !made[name] {
			t.Errorf("blob %s is in the target only", name)
		}
	}
}

// checkNew checks what tells of workers, and that there is nothing else.
func checkNew(t *testing.T, got *landed, want *outcome) {
	t.Helper()
	h := strings.ToLower(want.names.TaskHub)
	listing := []string{"table/" + want.names.TaskHub + "History", "table/" + want.names.TaskHub + "Instances", "container/" + h + "-applease", "queue/" + h + "-workitems"}
	blobs := map[string]string{h + "-applease/" + h + "-appleaseinfo": "{}"}
	var partitions []object
	folders := map[migrate.PartitionManager][]string{migrate.SafeBlobManager: {"intent", "ownership"}, migrate.LegacyBlobManager: {"default"}}[want.manager]
	if folders == nil {
		listing = append(listing, "table/"+want.names.TaskHub+"Partitions")
	} else {
		listing = append(listing, "container/"+h+"-leases")
	}
	for n := range want.partitions {
		queue := fmt.Sprintf("%s-control-%02d", h, n)
		listing = append(listing, "queue/"+queue)
		if folders == nil {
			partitions = append(partitions, object{"PartitionKey": "", "RowKey": queue, "IsDraining": false})
		}
		for _, folder := range folders {
			blobs[h+"-leases/"+folder+"/"+queue] = `{"PartitionId":"` + queue + `","Owner":null,"Token":null,"Epoch":0}`
		}
	}
	if len(got.blobs) > 0 || slices.ContainsFunc(got.content.Containers, func(c hub.Container) bool { return c.Name == h+"-largemessages" }) {
		listing = append(listing, "container/"+h+"-largemessages")
	}
	slices.Sort(listing)
	if diff := cmp.Diff(listing, got.e.Listing(t)); diff != "" {
		t.Errorf("the account (-want +got):\n%s", diff)
	}
	var rows []object
	for _, row := range got.content.Tables[hub.Partitions] {
		rows = append(rows, tree(t, &row))
	}
	if diff := cmp.Diff(partitions, rows); diff != "" {
		t.Errorf("rows of Partitions (-want +got):\n%s", diff)
	}
	for _, b := range got.content.Blobs {
		name := b.Container + "/" + b.Name
		if b.LeaseState == "leased" {
			t.Errorf("blob %s is leased", name)
		}
		if b.Container == h+"-largemessages" {
			continue
		}
		if text := string(b.Data); strings.HasSuffix(name, "-leases/taskhub.json") && folders != nil {
			info := parse(t, b.Data)
			at := instant(t, textIn(info, "CreatedAt"))
			if at.Sub(want.now).Abs() > time.Second || textIn(info, "TaskHubName") != want.names.TaskHub || numberIn(info, "PartitionCount") != want.partitions || len(info) != 3 {
				t.Errorf("taskhub.json is %s", text)
			}
		} else if text != blobs[name] {
			t.Errorf("blob %s holds %s, want %q", name, text, blobs[name])
		} else {
			delete(blobs, name)
		}
	}
	for name := range blobs {
		t.Errorf("blob %s is missing", name)
	}
	for _, c := range got.content.Containers {
		if c.LeaseState == "leased" {
			t.Errorf("container %s is leased", c.Name)
		}
	}
}

// checkForeign looks through all bytes of a hub for what belongs to the source:
// its name, its account and its workers. IDs of instances are the user's, and may
// be made of the hub's name.
func (s *source) checkForeign(t *testing.T, got *landed, foreign []string) {
	t.Helper()
	var ids []string
	for id := range s.records {
		ids = append(ids, strings.ToLower(id), strings.ToLower(schema.EscapeKey(id)))
	}
	slices.SortFunc(ids, func(a, b string) int { return len(b) - len(a) })
	look := func(where, text string) {
		text = strings.ToLower(text)
		found := func(word string) bool { return strings.Contains(text, word) }
		if !slices.ContainsFunc(foreign, found) {
			return
		}
		for _, id := range ids {
			text = strings.ReplaceAll(text, id, "")
		}
		if i := slices.IndexFunc(foreign, found); i >= 0 {
			t.Errorf("%s tells of %s, of the source: %.2000s", where, foreign[i], text)
		}
	}
	for _, rows := range got.content.Tables {
		for _, row := range rows {
			look("row "+row.PartitionKey+"/"+row.RowKey, string(row.AppendJSON(nil)))
		}
	}
	for _, l := range got.letters {
		look("message "+l.identity(), l.text)
	}
	for name, text := range got.blobs {
		look("blob "+name, text)
	}
	for _, b := range got.content.Blobs {
		look("blob "+b.Name, b.Container+" "+b.Name+" "+string(b.Data))
	}
}
