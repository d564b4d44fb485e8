package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Hub reads one task hub of an account. It is safe for concurrent use.
type Hub struct {
	names    hub.Names
	main     *Account // queues
	tracking *Account // tables and blobs; mostly the same

	blobEndpoint string
}

var _ hub.Reader = (*Hub)(nil)

// Open returns the hub with these names in the account that cfg describes. Like
// [OpenAccount], it asks for a token if cfg needs one and sends nothing else:
// whether there is such a hub, [Hub.Info] says.
func Open(ctx context.Context, cfg Config, names hub.Names, opts Options) (*Hub, error) {
	if names.TaskHub == "" {
		return nil, errors.New("the task hub has no name")
	}
	store := &cfg
	if cfg.Tracking != nil {
		store = cfg.Tracking
	}
	h := &Hub{names: names, blobEndpoint: store.endpoint("blob")}
	var err error
	if h.main, err = OpenAccount(ctx, cfg, opts); err != nil {
		return nil, err
	}
	h.tracking = h.main
	if cfg.Tracking != nil {
		if h.tracking, err = OpenAccount(ctx, *cfg.Tracking, opts); err != nil {
			h.main.Close()
			return nil, fmt.Errorf("tracking store: %w", err)
		}
	}
	return h, nil
}

// Close frees connections. Streams must have ended.
func (h *Hub) Close() error {
	h.main.Close()
	h.tracking.Close()
	return nil
}

// BlobURL returns the address by which rows refer to a blob. It sends nothing.
func (h *Hub) BlobURL(container, name string) string {
	return schema.BlobURL(h.blobEndpoint, container, name)
}

// Info describes the hub. It returns hub.ErrNotFound if no table, queue or
// container of it exists. What is missing of a hub that does exist is not in
// Info.Tables, [Hub.Queues] and [Hub.Containers]; what the credentials do not
// allow to look at is in Info.Unreadable.
//
// Tables that are shared with other hubs do not count as a sign of this one,
// unless a row of Instances names it. It takes about six requests; only if there
// is nothing but shared tables it reads these Instances until one is found.
func (h *Hub) Info(ctx context.Context) (hub.Info, error) {
	info := hub.Info{Names: h.names, Account: h.main.name}
	exists := false
	var denied error
	// unreadable notes an artifact that may not be read, and returns any other error.
	unreadable := func(artifact string, err error) error {
		if err == nil || !errors.Is(err, hub.ErrUnauthorized) {
			return err
		}
		denied = err
		info.Unreadable = append(info.Unreadable, hub.Unreadable{Artifact: artifact, Reason: err.Error()})
		return nil
	}

	for _, t := range []hub.Table{hub.Instances, hub.History, hub.Partitions} {
		there, err := h.tracking.tableExists(ctx, h.names.Table(t))
		if err := unreadable("table "+h.names.Table(t), err); err != nil {
			return hub.Info{}, err
		}
		if !there {
			continue
		}
		info.Tables = append(info.Tables, hub.TableInfo{Table: t, Name: h.names.Table(t), Rows: -1})
		exists = exists || h.names.TrackingPrefix == "" || t == hub.Partitions
	}
	queues, err := h.queueNames(ctx)
	if err := unreadable("queues", err); err != nil {
		return hub.Info{}, err
	}
	containers, err := h.Containers(ctx)
	if err := unreadable("containers", err); err != nil {
		return hub.Info{}, err
	}
	exists = exists || len(queues) > 0 || len(containers) > 0
	if !exists && len(info.Tables) > 0 {
		q := query{table: h.names.Table(hub.Instances), choose: "PartitionKey,RowKey," + hubColumn}
		for r, err := range h.tracking.rows(ctx, q) {
			if err != nil {
				return hub.Info{}, err
			}
			name, _ := r.Get(hubColumn).Text()
			if exists = strings.EqualFold(name, h.names.TaskHub); exists {
				break
			}
		}
	}
	switch {
	case !exists && denied != nil:
		return hub.Info{}, fmt.Errorf("hub %q: %w", h.names.TaskHub, denied)
	case !exists:
		return hub.Info{}, fmt.Errorf("hub %q in account %s: %w", h.names.TaskHub, h.main.name, hub.ErrNotFound)
	}
	err = h.countPartitions(ctx, &info, queues)
	if err := unreadable("partition count", err); err != nil {
		return hub.Info{}, err
	}
	return info, nil
}

// countPartitions finds the partition count in the best source that there is.
func (h *Hub) countPartitions(ctx context.Context, info *hub.Info, queues []string) error {
	if slices.ContainsFunc(info.Tables, func(t hub.TableInfo) bool { return t.Table == hub.Partitions }) {
		for _, err := range h.Rows(ctx, hub.Partitions, hub.Keys{}) {
			if err != nil {
				return err
			}
			info.PartitionCount++
			info.PartitionCountFrom = hub.FromPartitionsTable
		}
		if info.PartitionCount > 0 {
			return nil
		}
	}
	const maxTaskHubJSON = 1 << 20 // it has about 100 bytes
	text, err := h.ReadBlob(ctx, h.names.Leases(), "taskhub.json", maxTaskHubJSON)
	if err != nil && !isAbsent(err) && !errors.Is(err, hub.ErrTooLarge) {
		return err
	}
	var v struct{ PartitionCount int }
	if json.Unmarshal(text, &v) == nil && v.PartitionCount > 0 {
		info.PartitionCount, info.PartitionCountFrom = v.PartitionCount, hub.FromTaskHubJSON
		return nil
	}
	for _, name := range queues {
		if strings.HasPrefix(name, h.names.ControlQueuePrefix()) {
			info.PartitionCount++
			info.PartitionCountFrom = hub.FromControlQueues
		}
	}
	return nil
}

// tableExists asks for one row.
func (a *Account) tableExists(ctx context.Context, table string) (bool, error) {
	_, _, err := a.first(ctx, query{table: table, choose: "PartitionKey,RowKey"})
	if isAbsent(err) {
		return false, nil
	}
	return err == nil, err
}

// Rows streams the rows of a table whose keys match, in the order of keys. It
// takes a request for each 1,000 rows and holds two such pages. It checks the
// order: rows that come in another one end the stream with an error.
//
// Of tables that several hubs share, it yields the rows of this hub: Instances
// rows that name it in TaskHubName, in any case, or no hub at all, and the
// history of all but those instances that are another hub's.
func (h *Hub) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	if keys.To != "" && schema.CompareKeys(keys.From, keys.To) >= 0 {
		return none[schema.Row](ctx)
	}
	if h.names.TrackingPrefix != "" && table == hub.History {
		return h.ownHistory(ctx, keys)
	}
	rows := h.tracking.rows(ctx, query{table: h.names.Table(table), keys: keys})
	if h.names.TrackingPrefix != "" && table == hub.Instances {
		return ownInstances(rows, h.names.TaskHub)
	}
	return rows
}

// none is an empty stream.
func none[T any](ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if ctx.Err() != nil {
			var zero T
			yield(zero, context.Cause(ctx))
		}
	}
}
