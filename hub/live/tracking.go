package live

import (
	"context"
	"iter"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// hubColumn of Instances is all that tells whose an instance is where several
// hubs share a tracking store. Before 2.7.1 not all rows had it.
//
// Source: durabletask 2.9.1, AzureStorageClient.cs:50-60.
const hubColumn = "TaskHubName"

// foreign reports whether an Instances row says that it is another hub's.
func foreign(r *schema.Row, taskHub string) bool {
	name, ok := r.Get(hubColumn).Text()
	return ok && !strings.EqualFold(name, taskHub)
}

// ownInstances leaves out the rows of other hubs.
func ownInstances(rows iter.Seq2[schema.Row, error], taskHub string) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		for r, err := range rows {
			if err == nil && foreign(&r, taskHub) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// ownHistory leaves out the history of instances of other hubs. History rows do
// not say whose they are, so the Instances table is walked beside them; both
// are in the order of PartitionKey. History without an Instances row stays: it
// may be ours.
func (h *Hub) ownHistory(ctx context.Context, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		instances, stop := iter.Pull2(h.tracking.rows(ctx, query{
			table: h.names.Table(hub.Instances), keys: hub.Keys{From: keys.From, To: keys.To},
			choose: "PartitionKey,RowKey," + hubColumn,
		}))
		defer stop()
		var (
			at        schema.Row // the first instance not before the partition
			more      = true
			known     bool // partition and skip are those of the row before
			partition string
			skip      bool
		)
		for r, err := range h.tracking.rows(ctx, query{table: h.names.Table(hub.History), keys: keys}) {
			if err != nil {
				yield(schema.Row{}, err)
				return
			}
			if !known || r.PartitionKey != partition {
				for more && (!known || schema.CompareKeys(at.PartitionKey, r.PartitionKey) < 0) {
					known = true
					if at, err, more = instances(); err != nil {
						yield(schema.Row{}, err)
						return
					}
				}
				known, partition = true, r.PartitionKey
				skip = more && at.PartitionKey == partition && foreign(&at, h.names.TaskHub)
			}
			if !skip && !yield(r, nil) {
				return
			}
		}
	}
}
