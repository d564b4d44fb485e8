package diff

import (
	"bytes"
	"cmp"
	"crypto/md5" // what the Blob service keeps of each blob
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// pair is an artifact of the same role in both hubs, or in one of them.
type pair[T any] struct {
	role string
	a, b *T
}

// pairs puts together what has the same role, in the order of roles.
func pairs[T any](w *walk, a, b []T, name func(*T) string) []pair[T] {
	all := make(map[string]*pair[T])
	at := func(s *side, v *T) *pair[T] {
		role := w.role(s, name(v))
		if all[role] == nil {
			all[role] = &pair[T]{role: role}
		}
		return all[role]
	}
	for i := range a {
		at(&w.a, &a[i]).a = &a[i]
	}
	for i := range b {
		at(&w.b, &b[i]).b = &b[i]
	}
	var out []pair[T]
	for _, role := range slices.Sorted(maps.Keys(all)) {
		out = append(out, *all[role])
	}
	return out
}

// role returns the name of a queue or container without that of its hub, if
// names are mapped.
func (w *walk) role(s *side, name string) string {
	if !w.mapped {
		return name
	}
	return strings.TrimPrefix(name, hubPrefix(s.info.Names))
}

func (w *walk) containerPairs() ([]pair[hub.Container], error) {
	a, err := w.a.Containers(w.ctx)
	if err != nil {
		return nil, w.a.failed(err)
	}
	b, err := w.b.Containers(w.ctx)
	if err != nil {
		return nil, w.b.failed(err)
	}
	return pairs(w, a, b, func(c *hub.Container) string { return c.Name }), nil
}

func (w *walk) containers() error {
	all, err := w.containerPairs()
	if err != nil {
		return err
	}
	for _, p := range all {
		w.compared()
		d := Difference{Kind: Changed}
		switch {
		case p.a == nil || p.b == nil:
			d.Kind = kindOf(p.a != nil)
		case !w.opts.ServiceValues || w.ignores("lease_state") || p.a.LeaseState == p.b.LeaseState:
			continue
		default:
			d.Columns = []Column{{"lease_state", knownText(p.a.LeaseState), knownText(p.b.LeaseState)}}
		}
		d.Artifact = cmp.Or(p.a, p.b).Name
		if err := w.report(d); err != nil {
			return err
		}
	}
	return nil
}

// hubFolders are, by the role of a container, the folders in which the names of
// blobs begin with that of the hub.
//
// Source: durabletask 2.9.1, AppLeaseManager.cs:75-77, LegacyPartitionManager.cs:40-45,
// SafePartitionManager.cs:50-73; recorded in hubs dtfx-2.9.1-blob-leases and
// shared-tracking-TrackA.
var hubFolders = map[string][]string{"applease": {""}, "leases": {"default/", "intent/", "ownership/"}}

func (w *walk) blobs() error {
	all, err := w.containerPairs()
	if err != nil {
		return err
	}
	for _, p := range all {
		names := map[*side]string{}
		if p.a != nil {
			names[&w.a] = p.a.Name
		}
		if p.b != nil {
			names[&w.b] = p.b.Name
		}
		compare := func(a, b *hub.Blob) int { return schema.CompareKeys(a.Name, b.Name) }
		if folders := hubFolders[p.role]; w.mapped && folders != nil {
			compare = func(a, b *hub.Blob) int {
				return schema.CompareKeys(withoutHub(a.Name, w.a.info.Names, folders...), withoutHub(b.Name, w.b.info.Names, folders...))
			}
		}
		err := lockStep(w, &w.a, &w.b,
			func(s *side) iter.Seq2[[]hub.Blob, error] { return w.blobsOf(s, names[s]) }, compare, w.blob)
		if err != nil {
			return err
		}
	}
	return nil
}

// blobsOf streams the blobs of a container one at a time; none without a name.
func (w *walk) blobsOf(s *side, container string) iter.Seq2[[]hub.Blob, error] {
	return func(yield func([]hub.Blob, error) bool) {
		if container == "" {
			return
		}
		for b, err := range s.Blobs(w.ctx, container, "") {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield([]hub.Blob{b}, nil) {
				return
			}
		}
	}
}

func (w *walk) blob(a, b *hub.Blob) error {
	any := cmp.Or(a, b)
	d := Difference{Kind: Changed, Artifact: any.Container, Blob: any.Name}
	if any.Container == w.a.info.Names.LargeMessages() || any.Container == w.b.info.Names.LargeMessages() {
		if name, ok := schema.ParseBlobName(any.Name); ok {
			d.InstanceID = name.InstanceID()
		}
	}
	if a == nil || b == nil {
		d.Kind = kindOf(a != nil)
		return w.report(d)
	}
	add := func(name string, x, y schema.Value) {
		if !x.Equal(y) && !w.ignores(name) {
			d.Columns = append(d.Columns, Column{name, x, y})
		}
	}
	content, err := w.content(a, b)
	switch {
	case errors.Is(err, hub.ErrTooLarge):
		d.Kind, d.Reason = Unknown, fmt.Sprintf("%d bytes without an MD5 are more than the limit of %d", any.SizeBytes, w.opts.MaxBlobBytes)
	case errors.Is(err, hub.ErrNotFound):
		d.Kind, d.Reason = Unknown, "it was deleted while the hubs were compared"
	case err != nil:
		return err
	}
	for _, c := range content {
		add(c.Name, c.A, c.B)
	}
	add("content_type", knownText(a.ContentType), knownText(b.ContentType))
	add("metadata", metadata(a), metadata(b))
	if w.opts.ServiceValues {
		add("created_time", knownTime(a.CreatedAt), knownTime(b.CreatedAt))
		add("last_modified", knownTime(a.LastModified), knownTime(b.LastModified))
		add("lease_state", knownText(a.LeaseState), knownText(b.LeaseState))
	}
	if len(d.Columns) > 0 {
		d.Kind, d.Reason = Changed, "" // that much is certain
		slices.SortFunc(d.Columns, func(a, b Column) int { return cmp.Compare(a.Name, b.Name) })
	}
	if d.Kind == Unknown && w.ignores("content") || d.Kind == Changed && len(d.Columns) == 0 {
		return nil
	}
	return w.report(d)
}

// metadata returns the metadata of a blob as JSON, which has its names sorted.
func metadata(b *hub.Blob) schema.Value {
	if len(b.Metadata) == 0 {
		return schema.Value{}
	}
	text, err := json.Marshal(b.Metadata)
	if err != nil {
		return schema.Value{} // a map of strings always has one
	}
	return schema.String(string(text))
}

// maxDocument is the size up to which blobs in the containers of leases are
// taken for the small documents that belong there.
const maxDocument = 64 << 10

// content returns how the contents of two blobs differ. It returns
// hub.ErrTooLarge for blobs that may not be read, and hub.ErrNotFound for one
// that is no longer there.
func (w *walk) content(a, b *hub.Blob) ([]Column, error) {
	documents := a.Container != w.a.info.Names.LargeMessages() && max(a.SizeBytes, b.SizeBytes) <= maxDocument
	if a.SizeBytes != b.SizeBytes && !documents {
		return []Column{{"size_bytes", schema.Int64(a.SizeBytes), schema.Int64(b.SizeBytes)}}, nil
	}
	if a.SizeBytes == b.SizeBytes && a.ContentMD5 != nil && bytes.Equal(a.ContentMD5, b.ContentMD5) {
		return nil, nil
	}
	if documents {
		dataA, err := w.read(&w.a, a)
		if err != nil {
			return nil, err
		}
		dataB, err := w.read(&w.b, b)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(dataA, dataB) {
			return nil, nil
		}
		if columns, ok := w.documents(dataA, dataB); ok {
			return columns, nil
		}
		return []Column{
			{"content", sumValue(md5.Sum(dataA)), sumValue(md5.Sum(dataB))},
			{"size_bytes", schema.Int64(a.SizeBytes), schema.Int64(b.SizeBytes)},
		}, nil
	}
	sumA, err := w.sum(&w.a, a)
	if err != nil {
		return nil, err
	}
	sumB, err := w.sum(&w.b, b)
	if err != nil {
		return nil, err
	}
	return []Column{{"content", sumValue(sumA), sumValue(sumB)}}, nil
}

func sumValue(sum [md5.Size]byte) schema.Value {
	return schema.String("md5:" + hex.EncodeToString(sum[:]))
}

// sum returns the MD5 of a blob: what the service says, or its content's.
func (w *walk) sum(s *side, b *hub.Blob) (sum [md5.Size]byte, err error) {
	if len(b.ContentMD5) == len(sum) {
		copy(sum[:], b.ContentMD5)
		return sum, nil
	}
	data, err := w.read(s, b)
	if err != nil {
		return sum, err
	}
	return md5.Sum(data), nil
}

func (w *walk) read(s *side, b *hub.Blob) ([]byte, error) {
	data, err := s.ReadBlob(w.ctx, b.Container, b.Name, w.opts.MaxBlobBytes)
	if err != nil {
		return nil, s.failed(err)
	}
	return data, nil
}

// documents compares two JSON objects member by member, the names of the hubs
// mapped; ok is false if one of them is none. Those of the framework are flat.
//
// Source: durabletask 2.9.1, Lease.cs:36-55, TaskHubInfo.cs:18-29,
// AppLeaseManager.cs:532-580.
func (w *walk) documents(a, b []byte) (columns []Column, ok bool) {
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil || x == nil || y == nil {
		return nil, false
	}
	names := maps.Clone(x)
	maps.Copy(names, y)
	for name := range names {
		valueA, valueB := member(x, name), member(y, name)
		if textA, ok := valueA.Text(); ok && w.mapped {
			textB, _ := valueB.Text()
			switch {
			case name == "TaskHubName" && strings.EqualFold(textA, w.a.info.Names.TaskHub) && strings.EqualFold(textB, w.b.info.Names.TaskHub),
				name == "PartitionId" && w.role(&w.a, textA) == w.role(&w.b, textB):
				continue
			}
		}
		columns = append(columns, Column{name, valueA, valueB})
	}
	return columns, true
}

// member returns a member of a JSON object: text as it is, anything else as JSON.
func member(object map[string]json.RawMessage, name string) schema.Value {
	raw, ok := object[name]
	if !ok {
		return schema.Value{}
	}
	var text *string
	if json.Unmarshal(raw, &text) == nil && text != nil {
		return schema.String(*text)
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		return schema.String(string(raw))
	}
	// As a number, true, false or null would read in a column of the same name.
	if r, err := schema.DecodeRow([]byte(`{"PartitionKey":"","RowKey":"","v":` + compact.String() + `}`)); err == nil {
		return r.Get("v")
	}
	return schema.String(compact.String())
}

func (w *walk) queuePairs() ([]pair[hub.Queue], error) {
	a, err := w.a.Queues(w.ctx)
	if err != nil {
		return nil, w.a.failed(err)
	}
	b, err := w.b.Queues(w.ctx)
	if err != nil {
		return nil, w.b.failed(err)
	}
	return pairs(w, a, b, func(q *hub.Queue) string { return q.Name }), nil
}

// queues compares which queues there are, and how many messages they count. With
// different partition counts the messages are spread over the control queues in
// another way, and only their sum can be the same.
func (w *walk) queues() error {
	all, err := w.queuePairs()
	if err != nil {
		return err
	}
	counted := func(name string, a, b int64) error {
		if a == b || w.ignores("approximate_count") {
			return nil
		}
		return w.report(Difference{Kind: Changed, Artifact: name, Columns: []Column{{"approximate_count", schema.Int64(a), schema.Int64(b)}}})
	}
	var sumA, sumB int64
	for _, p := range all {
		w.compared()
		control := false
		if p.a != nil && w.isControl(&w.a, p.a.Name) {
			control = true
			sumA += p.a.ApproximateCount
		}
		if p.b != nil && w.isControl(&w.b, p.b.Name) {
			control = true
			sumB += p.b.ApproximateCount
		}
		err := error(nil)
		switch {
		case p.a == nil || p.b == nil:
			err = w.report(Difference{Kind: kindOf(p.a != nil), Artifact: cmp.Or(p.a, p.b).Name})
		case !w.across || !control:
			err = counted(p.a.Name, p.a.ApproximateCount, p.b.ApproximateCount)
		}
		if err != nil {
			return err
		}
	}
	if !w.across {
		return nil
	}
	return counted(w.a.info.Names.ControlQueuePrefix()+"*", sumA, sumB)
}

func (w *walk) isControl(s *side, queue string) bool {
	return strings.HasPrefix(queue, s.info.Names.ControlQueuePrefix())
}
