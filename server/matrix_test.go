package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// cutTo returns what a hub holds of some instances, without any message.
func cutTo(c hubtest.Content, ids ...string) hubtest.Content {
	out := c
	out.Tables, out.Queues, out.Blobs = make(map[hub.Table][]schema.Row), nil, nil
	for table, rows := range c.Tables {
		out.Tables[table] = []schema.Row{}
		for _, row := range rows {
			keep := table == hub.Partitions
			for _, id := range ids {
				keep = keep || row.PartitionKey == schema.EscapeKey(id)
			}
			if keep {
				out.Tables[table] = append(out.Tables[table], row.Clone())
			}
		}
	}
	for _, q := range c.Queues {
		out.Queues = append(out.Queues, hubtest.Queue{Name: q.Name})
	}
	for _, b := range c.Blobs {
		folder, _, _ := strings.Cut(b.Name, "/")
		for _, id := range ids {
			if folder == id {
				out.Blobs = append(out.Blobs, b)
			}
		}
	}
	return out
}

// withStatus returns a hub with one instance in a status; empty means that its row
// has none.
func withStatus(c hubtest.Content, id, status string) hubtest.Content {
	out := cutTo(c, id)
	for i := range out.Tables[hub.Instances] {
		row := &out.Tables[hub.Instances][i]
		if status != "" {
			row.Set("RuntimeStatus", schema.String(status))
			continue
		}
		var rest []schema.Property
		for _, p := range row.Properties {
			if p.Name != "RuntimeStatus" {
				rest = append(rest, p)
			}
		}
		row.Properties = rest
	}
	return out
}

func jsonRequest(t testing.TB, method, target, body string) *http.Request {
	t.Helper()
	r := record{Method: method, Path: target}
	if method == http.MethodPost {
		r.Body = &body
	}
	return r.request(t, "/runtime/webhooks/durabletask")
}

// operations are all that can be done with one instance.
var operations = []struct{ name, method, path, body string }{
	{"get", "GET", "/instances/ID", ""},
	{"get 500", "GET", "/instances/ID?returnInternalServerErrorOnFailure=true", ""},
	{"raise", "POST", "/instances/ID/raiseEvent/go", "1"},
	{"terminate", "POST", "/instances/ID/terminate?reason=r", ""},
	{"suspend", "POST", "/instances/ID/suspend", ""},
	{"resume", "POST", "/instances/ID/resume", ""},
	{"rewind", "POST", "/instances/ID/rewind?reason=r", ""},
	{"start", "POST", "/orchestrators/FailingFlow/ID", ""},
	{"restart same", "POST", "/instances/ID/restart?restartWithNewInstanceId=false", ""},
	{"restart new", "POST", "/instances/ID/restart", ""},
	{"delete", "DELETE", "/instances/ID", ""},
}

// matrix says of each status what an operation is answered, in the order of
// operations.
//
// Source: recorded in the calls of hub functions-3 for Running, Pending, Suspended,
// Completed, Terminated, Failed and without a row, but for what we answer
// differently: 409, 412, and 202 in place of 500.
var matrix = []struct {
	status string
	codes  [11]int
}{
	{"none", [11]int{404, 404, 404, 404, 404, 404, 404, 202, 400, 400, 404}},
	{"Pending", [11]int{202, 202, 202, 202, 202, 202, 412, 409, 409, 202, 200}},
	{"Running", [11]int{202, 202, 202, 202, 202, 202, 412, 409, 409, 202, 200}},
	{"ContinuedAsNew", [11]int{202, 202, 202, 202, 202, 202, 412, 409, 409, 202, 200}},
	{"Suspended", [11]int{202, 202, 202, 202, 202, 202, 412, 409, 409, 202, 200}},
	{"Completed", [11]int{200, 200, 410, 410, 410, 410, 410, 202, 202, 202, 200}},
	{"Terminated", [11]int{200, 200, 410, 410, 410, 410, 410, 202, 202, 202, 200}},
	{"Canceled", [11]int{200, 200, 410, 410, 410, 410, 410, 202, 202, 202, 200}},
	{"Failed", [11]int{200, 500, 410, 410, 410, 410, 202, 202, 202, 202, 200}},
	{"Odd", [11]int{500, 500, 500, 500, 500, 500, 500, 202, 202, 202, 200}},
	{"", [11]int{500, 500, 500, 500, 500, 500, 500, 202, 202, 202, 200}},
}

// sends tells of an operation that is accepted whether there is a message then.
func sends(operation, status string) bool {
	switch operation {
	case "get", "get 500", "delete":
		return false
	case "suspend":
		return status != "Suspended"
	case "resume":
		return status == "Suspended"
	}
	return true
}

// TestStatusMatrix does everything with an instance in each status: where it can be
// changed, and where it cannot.
func TestStatusMatrix(t *testing.T) {
	const id = "failing-1"
	recorded := recordedHub(t, "functions-3")
	for _, tt := range matrix {
		for i, op := range operations {
			t.Run(fmt.Sprintf("%s/%s", tt.status, op.name), func(t *testing.T) {
				c, path := withStatus(recorded, id, tt.status), strings.Replace(op.path, "ID", id, 1)
				if tt.status == "none" {
					path = strings.Replace(op.path, "ID", "nobody", 1)
				}
				e := testhub.NewEditor(c)
				w := answer(newServer(t, testOptions(server.Hub{Reader: e, Editor: e})), jsonRequest(t, op.method, path, op.body))
				if w.Code != tt.codes[i] {
					t.Fatalf("status %d, want %d: %s", w.Code, tt.codes[i], w.Body)
				}
				if sent, want := len(e.Posted()) > 0, w.Code == 202 && sends(op.name, tt.status); sent != want {
					t.Errorf("a message was sent: %v, want %v", sent, want)
				}
				if changed := len(e.Edits()) > 0; changed && w.Code != 200 && w.Code != 202 {
					t.Errorf("refused with %d, and changed %q", w.Code, e.Edits())
				}
				located := w.Code == 202 && (op.method == http.MethodGet || strings.Contains(op.name, "start"))
				if at := w.Header().Get("Location"); (at != "") != located {
					t.Errorf("status %d with the location %q", w.Code, at)
				}

				// Nothing can be changed: whatever would be accepted is not.
				e = testhub.NewEditor(withStatus(recorded, id, tt.status))
				refused := tt.codes[i]
				if op.method != http.MethodGet && (refused == 202 || refused == 200) {
					refused = http.StatusForbidden
				}
				opts := testOptions(server.Hub{Reader: e, Editor: e})
				opts.ReadOnly = true
				hubs := map[string]server.Options{
					"read-only": opts,
					"capture":   testOptions(server.Hub{Reader: testhub.NewMemory(withStatus(recorded, id, tt.status))}),
				}
				for kind, opts := range hubs {
					w := answer(newServer(t, opts), jsonRequest(t, op.method, path, op.body))
					if w.Code != refused {
						t.Errorf("%s: status %d, want %d: %s", kind, w.Code, refused, w.Body)
					}
					if refused == http.StatusForbidden && w.Body.String() != `{"Message":"read-only snapshot"}` {
						t.Errorf("%s: %s", kind, w.Body)
					}
				}
				if len(e.Edits()) > 0 {
					t.Errorf("read-only, and changed: %q", e.Edits())
				}
			})
		}
	}
}
