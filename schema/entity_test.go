package schema_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/taskhub-tools/taskhub/schema"
)

// stored compares the exported fields: what was decoded, and not how it was spelled.
var stored = cmp.Options{
	cmpopts.IgnoreUnexported(schema.EntityState{}, schema.EntityRequest{}, schema.Message{}, schema.TaskMessage{}, schema.Text{}),
	cmpopts.EquateEmpty(),
}

func TestParseEntityID(t *testing.T) {
	for id, want := range map[string]schema.EntityID{
		"@counter@cats": {Name: "counter", Key: "cats"},
		"@counter@":     {Name: "counter"},
		"@c@a@b":        {Name: "c", Key: "a@b"},
	} {
		got, ok := schema.ParseEntityID(id)
		if got != want || !ok {
			t.Errorf("ParseEntityID(%q) = %+v, %v, want %+v", id, got, ok, want)
		}
		if got.String() != id {
			t.Errorf("String() = %q, want %q", got, id)
		}
	}
	for _, id := range []string{"counter@x", "@nokey", "", "@", "@@", "@@key"} {
		if got, ok := schema.ParseEntityID(id); ok || got != (schema.EntityID{}) {
			t.Errorf("ParseEntityID(%q) = %+v, %v, want not ok", id, got, ok)
		}
	}
}

func TestEntityState(t *testing.T) {
	const request = `{"op":"Add","signal":true,"input":"3","id":"3f4920a1-376b-4fbb-95d5-2de7ba19a06e","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`
	tests := []struct {
		name, text string
		want       schema.EntityState
		hasState   bool
	}{
		{"never given state", `{"sorter":{}}`, schema.EntityState{Sorter: "{}"}, false},
		{"exists", `{"exists":true,"state":"{\"currentValue\":12}","sorter":{}}`, schema.EntityState{Exists: true, State: schema.Some(`{"currentValue":12}`), Sorter: "{}"}, true},
		{"exists with a state of null", `{"exists":true,"sorter":{}}`, schema.EntityState{Exists: true, Sorter: "{}"}, true},
		{"isolated app", `{"state":"5","sorter":{}}`, schema.EntityState{State: schema.Some("5"), Sorter: "{}"}, true},
		{
			"locked, one waiting", `{"exists":true,"state":"{}","queue":[` + request + `],"lockedBy":"eholder","sorter":{"ReceiveHorizon":"2026-11-22T03:38:25.5503254Z"}}`,
			schema.EntityState{
				Exists: true, State: schema.Some("{}"), LockedBy: schema.Some("eholder"), Sorter: `{"ReceiveHorizon":"2026-11-22T03:38:25.5503254Z"}`,
				Queue: []schema.EntityRequest{{
					Operation: schema.Some("Add"), Signal: true, Input: schema.Some("3"), ID: "3f4920a1-376b-4fbb-95d5-2de7ba19a06e",
					Timestamp: "0001-01-01T00:00:00", Predecessor: "0001-01-01T00:00:00",
				}},
			},
			true,
		},
		{"suspended", `{"suspended":true,"sorter":{}}`, schema.EntityState{Suspended: true, Sorter: "{}"}, false},
		{"unknown member", `{"exists":true,"mood":{"a":[1]},"sorter":{}}`, schema.EntityState{Exists: true, Sorter: "{}", Extra: []schema.Member{{Name: "mood", JSON: `{"a":[1]}`}}}, true},
		{"another order", `{"sorter":{},"state":"1","exists":true}`, schema.EntityState{Exists: true, State: schema.Some("1"), Sorter: "{}"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schema.DecodeEntityState(tt.text)
			if diff := cmp.Diff(tt.want, got, stored); diff != "" || err != nil {
				t.Errorf("DecodeEntityState(%s): %v (-want +got):\n%s", tt.text, err, diff)
			}
			if got.HasState() != tt.hasState {
				t.Errorf("HasState() = %v, want %v", got.HasState(), tt.hasState)
			}
			if back := string(got.AppendJSON(nil)); back != tt.text {
				t.Errorf("AppendJSON = %s, want %s", back, tt.text)
			}
			if tt.name == "another order" || tt.name == "unknown member" {
				return
			}
			if made := string(tt.want.AppendJSON(nil)); made != tt.text {
				t.Errorf("made from its parts: %s, want %s", made, tt.text)
			}
		})
	}
}

func TestEntityRequest(t *testing.T) {
	tests := []struct {
		name, text string
		want       schema.EntityRequest
	}{
		{
			"call", `{"op":"Add","input":"10","id":"da116bcc-0000-0000-0000-000000000000","parent":"ecall-1","parentExecution":"7c50","Timestamp":"2026-11-22T04:08:26.125041Z","Predecessor":"2026-11-22T04:08:25.4760433Z"}`,
			schema.EntityRequest{
				Operation: schema.Some("Add"), Input: schema.Some("10"), ID: "da116bcc-0000-0000-0000-000000000000", Parent: schema.Some("ecall-1"),
				ParentExecution: schema.Some("7c50"), Timestamp: "2026-11-22T04:08:26.125041Z", Predecessor: "2026-11-22T04:08:25.4760433Z",
			},
		},
		{
			"lock", `{"op":null,"id":"9bcc4607-92cc-592b-8911-e8a9a646334e","parent":"p","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00","lockset":[{"name":"counter","key":"c1"},{"name":"counter","key":"c2"}],"pos":1}`,
			schema.EntityRequest{
				ID: "9bcc4607-92cc-592b-8911-e8a9a646334e", Parent: schema.Some("p"), Timestamp: "0001-01-01T00:00:00", Predecessor: "0001-01-01T00:00:00",
				LockSet: []schema.EntityID{{Name: "counter", Key: "c1"}, {Name: "counter", Key: "c2"}}, Position: 1,
			},
		},
		{
			"delayed signal", `{"op":"","signal":true,"id":"i","due":"2026-11-22T05:08:25.7095913Z","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`,
			schema.EntityRequest{
				Operation: schema.Some(""), Signal: true, ID: "i", Due: schema.Some("2026-11-22T05:08:25.7095913Z"),
				Timestamp: "0001-01-01T00:00:00", Predecessor: "0001-01-01T00:00:00",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schema.DecodeEntityRequest(tt.text)
			if diff := cmp.Diff(tt.want, got, stored); diff != "" || err != nil {
				t.Errorf("DecodeEntityRequest(%s): %v (-want +got):\n%s", tt.text, err, diff)
			}
			if back := string(got.AppendJSON(nil)); back != tt.text {
				t.Errorf("AppendJSON = %s, want %s", back, tt.text)
			}
			if made := string(tt.want.AppendJSON(nil)); made != tt.text {
				t.Errorf("made from its parts: %s, want %s", made, tt.text)
			}
		})
	}
}

// Types, extra members and other orders come back as they were.
func TestEntityRequestForms(t *testing.T) {
	for name, text := range map[string]string{
		"$type":          `{"$type":"Microsoft.X.RequestMessage, Microsoft.X","op":null,"id":"i","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00","lockset":[{"$type":"Microsoft.X.EntityId, Microsoft.X","name":"counter","key":"c1"}]}`,
		"isolated app":   `{"op":"Add","id":"i","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00","IsLockRequest":false,"parentTraceContext":{"TraceParent":"00-1"},"createTrace":false,"requestTime":"2026-11-22T05:08:25.7095913Z"}`,
		"another order":  `{"id":"i","op":"Add","Predecessor":"0001-01-01T00:00:00","Timestamp":"0001-01-01T00:00:00"}`,
		"empty lock set": `{"op":null,"id":"i","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00","lockset":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := schema.DecodeEntityRequest(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.AppendJSON(nil)); got != text {
				t.Errorf("AppendJSON = %s, want %s", got, text)
			}
		})
	}
}

// A state or request that was read can be given members that it did not have.
func TestEntityChanged(t *testing.T) {
	s, err := schema.DecodeEntityState(`{"mood":1,"sorter":{}}`)
	if err != nil {
		t.Fatal(err)
	}
	s.Exists, s.State, s.LockedBy = true, schema.Some("5"), schema.Some("p")
	if got, want := string(s.AppendJSON(nil)), `{"mood":1,"sorter":{},"exists":true,"state":"5","lockedBy":"p"}`; got != want {
		t.Errorf("AppendJSON = %s, want %s", got, want)
	}
	s.Exists, s.State, s.LockedBy = false, schema.Optional[string]{}, schema.Optional[string]{}
	if got, want := string(s.AppendJSON(nil)), `{"mood":1,"sorter":{}}`; got != want {
		t.Errorf("AppendJSON = %s, want %s", got, want)
	}
	r, err := schema.DecodeEntityRequest(`{"op":"Add","id":"i","Timestamp":"t","Predecessor":"p"}`)
	if err != nil {
		t.Fatal(err)
	}
	r.Parent = schema.Some("q")
	if got, want := string(r.AppendJSON(nil)), `{"op":"Add","id":"i","Timestamp":"t","Predecessor":"p","parent":"q"}`; got != want {
		t.Errorf("AppendJSON = %s, want %s", got, want)
	}
	// What was missing stays missing.
	for _, text := range []string{`{}`, `{"state":"5"}`} {
		if s, err = schema.DecodeEntityState(text); err != nil {
			t.Fatal(err)
		}
		if got := string(s.AppendJSON(nil)); got != text {
			t.Errorf("AppendJSON = %s, want %s", got, text)
		}
	}
}

func TestEntityErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, column string }{
		{"no object", `[]`, ""},
		{"empty", ``, ""},
		{"text after", `{"sorter":{}} x`, ""},
		{"member twice", `{"sorter":{},"sorter":{}}`, ""},
		{"exists of another type", `{"exists":"yes","sorter":{}}`, "exists"},
		{"exists of null", `{"exists":null,"sorter":{}}`, "exists"},
		{"queue of another type", `{"queue":{},"sorter":{}}`, "queue"},
		{"bad request in the queue", `{"queue":[{"op":"Add"}],"sorter":{}}`, "queue[0]"},
		{"state of another type", `{"state":{},"sorter":{}}`, "state"},
	} {
		_, err := schema.DecodeEntityState(tt.text)
		var bad *schema.DecodeError
		if !errors.As(err, &bad) || bad.Column != tt.column {
			t.Errorf("%s: DecodeEntityState(%s): %v, want a DecodeError of %q", tt.name, tt.text, err, tt.column)
		}
	}
	for _, tt := range []struct{ name, text, column string }{
		{"no object", `5`, ""},
		{"no ID", `{"op":"x","Timestamp":"t","Predecessor":"p"}`, "id"},
		{"lock set of another type", `{"op":null,"id":"i","Timestamp":"t","Predecessor":"p","lockset":5}`, "lockset"},
		{"lock set of numbers", `{"op":null,"id":"i","Timestamp":"t","Predecessor":"p","lockset":[5]}`, "lockset"},
		{"lock set without a key", `{"op":null,"id":"i","Timestamp":"t","Predecessor":"p","lockset":[{"name":"n"}]}`, "lockset.key"},
		{"position of another type", `{"op":null,"id":"i","Timestamp":"t","Predecessor":"p","pos":1.5}`, "pos"},
	} {
		_, err := schema.DecodeEntityRequest(tt.text)
		var bad *schema.DecodeError
		if !errors.As(err, &bad) || bad.Column != tt.column {
			t.Errorf("%s: DecodeEntityRequest(%s): %v, want a DecodeError of %q", tt.name, tt.text, err, tt.column)
		}
	}
}
