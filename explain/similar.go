package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	// maxCompared bounds the search for similar IDs, in rows.
	maxCompared = 50_000
	// maxComparedID is the longest ID that is compared letter by letter.
	maxComparedID = 128
	// maxSimilar bounds the long IDs that differ only in case.
	maxSimilar   = 5
	compareBatch = 1000
)

// similar looks for IDs that may have been meant by one that is unknown: the
// same as it stands in a table's key, or without blanks around it, in another
// case, with a slip of the pen.
func (e *explainer) similar(ctx context.Context) error {
	r := e.report
	if r.Found || len(r.Messages) > 0 || e.made != nil {
		return nil
	}
	for _, id := range []string{strings.TrimSpace(e.self.id), schema.InstanceID(e.self.id)} {
		if id == e.self.id || slices.Contains(r.Similar, id) {
			continue
		}
		l, err := e.relative(ctx, id)
		if err != nil {
			return err
		}
		if l.found() {
			r.Similar = append(r.Similar, id)
		}
	}
	// Names are compared as far as the best so far and one batch.
	var best, batch []string
	for row, err := range e.r.Rows(ctx, hub.Instances, hub.Keys{}) {
		if err != nil {
			return fmt.Errorf("look for similar instances: %w", err)
		}
		if r.SimilarOf == maxCompared {
			break
		}
		r.SimilarOf++
		id := schema.InstanceID(row.PartitionKey)
		if len(id) > maxComparedID || len(e.self.id) > maxComparedID {
			if strings.EqualFold(id, e.self.id) && len(r.Similar) < maxSimilar {
				r.Similar = append(r.Similar, strings.Clone(id))
			}
			continue
		}
		if !near(id, e.self.id) {
			continue
		}
		if batch = append(batch, strings.Clone(id)); len(batch) == compareBatch {
			best, batch = manage.Similar(e.self.id, append(best, batch...)), nil
		}
	}
	for _, id := range manage.Similar(e.self.id, append(best, batch...)) {
		if !slices.Contains(r.Similar, id) {
			r.Similar = append(r.Similar, id)
		}
	}
	return nil
}

// near rules out quickly what cannot be similar.
func near(a, b string) bool {
	if max(len(a)-len(b), len(b)-len(a)) <= max(1, len(b)/4) {
		return true
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}
