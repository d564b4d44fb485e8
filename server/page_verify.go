package server

import (
	"net/http"
	"sync"

	"github.com/taskhub-tools/taskhub/verify"
)

// maxFindings are shown; the others are counted.
const maxFindings = 1000

// verifications are the hubs that are being verified: one takes a good part of a
// machine, and of the limits of an account. The zero value is ready.
type verifications struct {
	mu   sync.Mutex
	busy map[*served]bool
}

// begin reports whether the hub is not being verified by anybody else.
func (v *verifications) begin(h *served) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy[h] {
		return false
	}
	if v.busy == nil {
		v.busy = make(map[*served]bool)
	}
	v.busy[h] = true
	return true
}

func (v *verifications) end(h *served) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.busy, h)
}

// The lines of the answer of verifyData.
type (
	verifyProgress struct {
		Type        string `json:"type"` // progress
		Instances   int64  `json:"instances"`
		HistoryRows int64  `json:"history_rows"`
		// TotalRows of history; -1 if that is not known.
		TotalRows int64 `json:"total_rows"`
		Findings  int64 `json:"findings"`
	}
	verifyFinding struct {
		Type string `json:"type"` // finding
		verify.Finding
	}
	verifyDone struct {
		Type string `json:"type"` // done
		// LeftOut counts findings beyond maxFindings.
		LeftOut int64 `json:"left_out"`
		*verify.Summary
	}
)

// verifyData verifies a whole hub and streams what it finds, and how far it is. It
// ends when nobody listens any more.
func (s *Server) verifyData(w http.ResponseWriter, p *pageRequest) {
	if !s.pages.verifying.begin(p.hub) {
		writePageError(w, &pageError{
			status: http.StatusConflict, Message: "Somebody is verifying this hub right now.", Hint: "Wait for the end of that, then try again.",
		})
		return
	}
	defer s.pages.verifying.end(p.hub)
	ctx := p.Context()
	lines := newLineWriter(w)
	var gone error // why nothing more can be written
	tell := func(v any) {
		if gone == nil {
			gone = lines.line(v)
		}
	}
	var sent, leftOut int64
	findings, summary := verify.Hub(ctx, p.hub.Reader, verify.Options{
		Now: s.opts.Now,
		OnProgress: func(at verify.Progress) {
			tell(verifyProgress{"progress", at.Instances, at.HistoryRows, at.TotalRows, at.Findings})
		},
	})
	for f, err := range findings {
		switch {
		case gone != nil:
			return
		case err != nil:
			lines.failed(s.pageTrouble(p, err))
			return
		case sent == maxFindings:
			leftOut++
		default:
			sent++
			tell(verifyFinding{"finding", f})
		}
	}
	tell(verifyDone{"done", leftOut, summary})
}
