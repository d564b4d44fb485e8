package migrate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// recordedLinks is which instances of a hub wait for which others, read from its
// rows and the messages in sight without the code under test.
type recordedLinks struct {
	histories map[string]*recordedHistory
	ended     map[string]bool // by the rows of Instances
	// answered are the answers in sight: CHILD TASK of PARENT, or the names of
	// events for instances.
	answered map[string]bool
	// sent are the messages in sight that somebody waits for: the waiter and the
	// instance that they are for.
	sent [][2]string
	// requested are the requests in sight, and started the starts.
	requested, started map[string]bool
}

// recordedHistory is what the live rows of a history say.
type recordedHistory struct {
	id, execution  string
	ended, forgets bool
	parent         string
	parentTask     int32
	newTraces      bool // the column GenerateNewTrace exists, since Core 3.9
	children       map[int32]recordedChild
	calls          map[string][]string // entities by the ID of the request
	held           map[string][]string // the same of locks that were granted
}

type recordedChild struct {
	id      string
	forgets bool
}

type recordedRequest struct {
	ID, Parent string
	Signal     bool
	LockSet    []struct{ Name, Key string }
}

func (q *recordedRequest) entities(target string) []string {
	if q.LockSet == nil {
		return []string{target}
	}
	var all []string
	for _, e := range q.LockSet {
		all = append(all, "@"+e.Name+"@"+e.Key)
	}
	return all
}

func linksOf(t testing.TB, r hub.Reader) *recordedLinks {
	t.Helper()
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &recordedLinks{
		histories: make(map[string]*recordedHistory), ended: make(map[string]bool), answered: make(map[string]bool),
		requested: make(map[string]bool), started: make(map[string]bool),
	}
	for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch status, _ := row.Get("RuntimeStatus").Text(); status {
		case "Completed", "Failed", "Terminated", "Canceled":
			l.ended[schema.InstanceID(row.PartitionKey)] = true
		}
	}
	for row, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		id := schema.InstanceID(row.PartitionKey)
		h := l.histories[id]
		if h == nil {
			h = &recordedHistory{
				id: id, children: make(map[int32]recordedChild), calls: make(map[string][]string), held: make(map[string][]string),
			}
			h.execution, _ = row.Get("ExecutionId").Text()
			l.histories[id] = h
		}
		if execution, _ := row.Get("ExecutionId").Text(); execution != h.execution || row.IsSentinel() {
			continue
		}
		h.add(t, r, info.Names.LargeMessages(), &row)
	}
	queues, err := r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		for m, err := range r.Messages(t.Context(), q.Name) {
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := hub.LoadMessage(t.Context(), r, info.Names.LargeMessages(), &m, 0)
			if err != nil {
				t.Fatal(err)
			}
			l.addMessage(t, loaded.JSON)
		}
	}
	return l
}

func (h *recordedHistory) add(t testing.TB, r hub.Reader, container string, row *schema.Row) {
	t.Helper()
	text := func(column string) string {
		value, _ := row.Get(column).Text()
		if blob, ok := row.Get(column + "BlobName").Text(); ok && blob != "" {
			var err error
			if value, err = hub.LoadText(t.Context(), r, container, schema.StoredBlobName(blob), 0); err != nil {
				t.Fatal(err)
			}
		}
		return value
	}
	number := func(column string) int32 {
		n, _ := row.Get(column).Int()
		return int32(n)
	}
	switch text("EventType") {
	case "ExecutionStarted":
		h.newTraces = row.Get("GenerateNewTrace").Type() != schema.Absent
		h.forgets = strings.Contains(text("Tags"), "FireAndForget")
		var parent *struct {
			OrchestrationInstance struct{ InstanceID string }
			TaskScheduleID        int32
		}
		if parentText := text("ParentInstance"); parentText != "" {
			if err := json.Unmarshal([]byte(parentText), &parent); err != nil {
				t.Fatal(err)
			}
		}
		if parent != nil {
			h.parent, h.parentTask = parent.OrchestrationInstance.InstanceID, parent.TaskScheduleID
		}
	case "ExecutionCompleted":
		h.ended = true
	case "SubOrchestrationInstanceCreated":
		h.children[number("EventId")] = recordedChild{text("InstanceId"), strings.Contains(text("Tags"), "FireAndForget")}
	case "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed":
		delete(h.children, number("TaskScheduledId"))
	case "EventSent":
		target := text("InstanceId")
		var request recordedRequest
		if !strings.HasPrefix(target, "@") || json.Unmarshal([]byte(text("Input")), &request) != nil {
			return
		}
		switch {
		case text("Name") == "release":
			h.held[request.ID] = without(h.held[request.ID], target)
		case !request.Signal:
			h.calls[request.ID] = request.entities(target)
			if request.LockSet != nil {
				h.held[request.ID] = nil
			}
		}
	case "EventRaised":
		if entities, ok := h.calls[text("Name")]; ok {
			delete(h.calls, text("Name"))
			if _, lock := h.held[text("Name")]; lock {
				h.held[text("Name")] = entities
			}
		}
	}
}

func without(all []string, one string) []string {
	var left []string
	for _, s := range all {
		if s != one {
			left = append(left, s)
		}
	}
	return left
}

func (l *recordedLinks) addMessage(t testing.TB, text string) {
	t.Helper()
	var m struct {
		TaskMessage struct {
			Event struct {
				EventType       int
				TaskScheduledID *int32
				Name, Input     string
				Tags            map[string]string
				ParentInstance  *struct {
					OrchestrationInstance struct{ InstanceID string }
					TaskScheduleID        int32
				}
			}
			OrchestrationInstance struct{ InstanceID string }
		}
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	e, target := m.TaskMessage.Event, m.TaskMessage.OrchestrationInstance.InstanceID
	_, forgets := e.Tags["FireAndForget"]
	switch schema.EventType(e.EventType) {
	case schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed:
		l.answered[fmt.Sprintf("child %d of %s", *e.TaskScheduledID, target)] = true
	case schema.TypeExecutionStarted:
		if p := e.ParentInstance; p != nil && !forgets {
			l.sent = append(l.sent, [2]string{p.OrchestrationInstance.InstanceID, target})
			l.started[fmt.Sprintf("child %d of %s", p.TaskScheduleID, p.OrchestrationInstance.InstanceID)] = true
		}
	case schema.TypeEventRaised:
		if !strings.HasPrefix(target, "@") {
			l.answered[e.Name+" of "+target] = true
			return
		}
		var request recordedRequest
		if strings.HasPrefix(e.Name, "op") && json.Unmarshal([]byte(e.Input), &request) == nil && !request.Signal && request.Parent != "" {
			l.sent = append(l.sent, [2]string{request.Parent, target})
			l.requested[request.ID+" of "+target] = true
		}
	}
}

// cut returns the links of which only one end is selected, as ONE THAT MOVES >
// ONE THAT STAYS.
func (l *recordedLinks) cut(moves func(string) bool) map[string]bool {
	all := make(map[string]bool)
	add := func(waiter, worker string) {
		switch {
		case moves(waiter) && !moves(worker):
			all[waiter+" > "+worker] = true
		case moves(worker) && !moves(waiter):
			all[worker+" > "+waiter] = true
		}
	}
	for _, link := range l.sent {
		if !l.ended[link[0]] && moves(link[1]) {
			add(link[0], link[1])
		}
	}
	for _, h := range l.histories {
		if h.ended {
			continue
		}
		for task, child := range h.children {
			key := fmt.Sprintf("child %d of %s", task, h.id)
			c := l.histories[child.id]
			made := c != nil && c.parent == h.id && c.parentTask == task
			switch {
			case l.answered[key], child.forgets, made && (c.ended || c.forgets):
			case !made && !l.started[key] && !h.newTraces: // it may have been forgotten
			default:
				add(h.id, child.id)
			}
		}
		for request, entities := range h.calls {
			for _, e := range entities {
				if !l.answered[request+" of "+h.id] {
					add(h.id, e)
				}
			}
		}
		for _, entities := range h.held {
			for _, e := range entities {
				add(h.id, e)
			}
		}
	}
	return all
}
