package server

import (
	"context"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
)

const (
	// maxMessagesShown of each queue are decoded: the service shows 32, a capture
	// has no more of most.
	maxMessagesShown = 32
)

// shownHubs is what the page shows first.
type shownHubs struct {
	// Actions says that instances can be operated, unless a hub is read-only.
	ReadOnly bool       `json:"read_only"`
	Redacted bool       `json:"redacted"`
	Key      bool       `json:"key"`
	Hubs     []shownHub `json:"hubs"`
}

type shownHub struct {
	Name       string `json:"name"`
	Connection string `json:"connection"`
	Account    string `json:"account"`
	Capture    bool   `json:"capture"`
	ReadOnly   bool   `json:"read_only"`
	// Why says why nothing can be changed; empty if something can.
	Why            string   `json:"why,omitempty"`
	PartitionCount int      `json:"partition_count"`
	PartitionsFrom string   `json:"partitions_from"`
	Started        pageTime `json:"started"`
	Finished       pageTime `json:"finished"`
	Observed       pageTime `json:"observed_at"`
	// Instances and HistoryRows are -1 if only reading all of them would tell.
	Instances   int64    `json:"instances"`
	HistoryRows int64    `json:"history_rows"`
	Unreadable  []string `json:"unreadable"`
}

// hubsData lists the hubs. It does not look at storage.
func (s *Server) hubsData(context.Context, *pageRequest) (any, error) {
	out := &shownHubs{ReadOnly: s.opts.ReadOnly, Redacted: s.opts.Redact, Key: s.opts.Key != "", Hubs: make([]shownHub, 0, len(s.hubs))}
	for _, h := range s.hubs {
		out.Hubs = append(out.Hubs, s.shownHub(h))
	}
	return out, nil
}

func (s *Server) shownHub(h *served) shownHub {
	out := shownHub{
		Name: h.name(), Connection: h.Connection, Account: h.info.Account, Capture: h.capture(), ReadOnly: h.readOnly,
		PartitionCount: h.info.PartitionCount, PartitionsFrom: string(h.info.PartitionCountFrom),
		Started: pageTime(h.info.Started), Finished: pageTime(h.info.Finished), Observed: pageTime(s.observed(h)),
		Instances: h.rows(hub.Instances), HistoryRows: h.rows(hub.History), Unreadable: []string{},
	}
	switch {
	case h.capture():
		out.Why = "This is a capture: nothing in it can be changed."
	case s.opts.ReadOnly:
		out.Why = "The server was started as read-only."
	case h.Editor == nil:
		out.Why = "The server was given no way to change this hub."
	case h.noControl != nil:
		out.ReadOnly, out.Why = true, sentence(h.noControl.Error())
	}
	if out.Instances < 0 {
		out.Instances = s.pages.indexes.counted(h)
	}
	for _, u := range h.info.Unreadable {
		out.Unreadable = append(out.Unreadable, u.Artifact+": "+u.Reason)
	}
	return out
}

// sentence makes a sentence of the text of an error.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// shownHealth is how a hub is: who owns its partitions and what waits in its queues.
type shownHealth struct {
	Observed pageTime       `json:"observed_at"`
	Running  manage.Running `json:"app_running"`
	Evidence []string       `json:"evidence"`
	AppLease string         `json:"app_lease"`
	Leases   []shownLease   `json:"leases"`
	Queues   []shownQueue   `json:"queues"`
	Problems []string       `json:"problems"`
}

type shownLease struct {
	Queue       string   `json:"queue"`
	Source      string   `json:"source"`
	Owner       string   `json:"owner"`
	NextOwner   string   `json:"next_owner,omitempty"`
	OwnedSince  pageTime `json:"owned_since"`
	LastRenewal pageTime `json:"last_renewal"`
	ExpiresAt   pageTime `json:"expires_at"`
	Draining    bool     `json:"draining"`
	LeaseState  string   `json:"lease_state,omitempty"`
}

type shownQueue struct {
	Name string `json:"name"`
	// Count is that of the service, invisible messages included.
	Count    int64          `json:"count"`
	Seen     int64          `json:"seen"`
	Oldest   pageTime       `json:"oldest"`
	MaxTaken int64          `json:"max_dequeue_count"`
	Messages []shownMessage `json:"messages"`
}

type shownMessage struct {
	Position     int      `json:"position"`
	ID           string   `json:"id"`
	InstanceID   string   `json:"instance_id"`
	EventType    string   `json:"event_type"`
	Name         string   `json:"name"`
	Purpose      string   `json:"purpose"`
	InsertedAt   pageTime `json:"inserted_at"`
	Due          pageTime `json:"due"`
	DequeueCount int64    `json:"dequeue_count"`
	Blob         string   `json:"blob,omitempty"`
	Problem      string   `json:"problem,omitempty"`
}

// healthData shows how a hub is. On a live hub it takes two requests for each queue
// and a few more; messages are peeked at.
func (s *Server) healthData(ctx context.Context, p *pageRequest) (any, error) {
	o, err := manage.Leases(ctx, p.hub.Reader, manage.DescribeOptions{Now: s.opts.Now})
	if err != nil {
		return nil, err
	}
	out := &shownHealth{
		Observed: pageTime(o.ObservedAt), Running: o.Running, Evidence: orEmpty(o.Evidence), AppLease: o.AppLease,
		Leases: leases(o.Partitions), Queues: []shownQueue{}, Problems: []string{},
	}
	for _, err := range o.Problems {
		out.Problems = append(out.Problems, err.Error())
	}
	queues, err := p.hub.Reader.Queues(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		shown, err := s.shownQueue(ctx, p.hub, q)
		if err != nil {
			return nil, err
		}
		out.Queues = append(out.Queues, shown)
	}
	return out, nil
}

func leases(list []manage.Partition) []shownLease {
	out := make([]shownLease, 0, len(list))
	for _, l := range list {
		out = append(out, shownLease{
			l.Queue, l.Source, l.Owner, l.NextOwner, pageTime(l.OwnedSince), pageTime(l.LastRenewal), pageTime(l.ExpiresAt), l.Draining, l.LeaseState,
		})
	}
	return out
}

func (s *Server) shownQueue(ctx context.Context, h *served, q hub.Queue) (shownQueue, error) {
	out := shownQueue{Name: q.Name, Count: q.ApproximateCount, Messages: []shownMessage{}}
	for m, err := range h.query.Messages(ctx, q.Name) {
		if err != nil {
			return out, err
		}
		out.Seen++
		out.MaxTaken = max(out.MaxTaken, m.Stored.DequeueCount)
		if t := pageTime(m.Stored.InsertedAt); t != 0 && (out.Oldest == 0 || t < out.Oldest) {
			out.Oldest = t
		}
		if len(out.Messages) == maxMessagesShown {
			continue
		}
		shown := shownMessage{
			m.Position, m.Stored.ID, m.InstanceID, m.EventType, shorten(m.Name), m.Purpose(),
			pageTime(m.Stored.InsertedAt), pageTime(m.DueAt), m.Stored.DequeueCount, m.Blob, "",
		}
		if m.Problem != nil {
			shown.Problem = m.Problem.Error()
		}
		out.Messages = append(out.Messages, shown)
	}
	return out, nil
}
