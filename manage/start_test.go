package manage_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

type recordedMessage struct {
	schema.QueueMessage
	loaded hub.LoadedMessage
}

func recordedMessages(t testing.TB, name string, c *hubtest.Content) []recordedMessage {
	t.Helper()
	var all []recordedMessage
	for i := range c.PartitionCount {
		queue := c.Names.ControlQueue(i)
		for _, stored := range testhub.RecordedMessages(t, name, queue) {
			m := recordedMessage{QueueMessage: stored}
			var err error
			if m.loaded, err = hub.LoadMessage(t.Context(), testhub.NewMemory(*c), c.Names.LargeMessages(), &stored, 0); err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
		}
	}
	return all
}

// emptied returns a hub as it is when it is new.
func emptied(c hubtest.Content) hubtest.Content {
	e := hubtest.Content{
		Names: c.Names, PartitionCount: c.PartitionCount, PartitionCountFrom: c.PartitionCountFrom,
		Tables: map[hub.Table][]schema.Row{hub.Instances: {}, hub.History: {}},
	}
	if rows, ok := c.Tables[hub.Partitions]; ok {
		e.Tables[hub.Partitions] = rows
	}
	for _, q := range c.Queues {
		e.Queues = append(e.Queues, hubtest.Queue{Name: q.Name})
	}
	return e
}

// TestRecordedClients gives the arguments of every start and event that a client
// has left in the queues of a recorded hub to ours, in an empty hub, and compares
// messages, delays, blobs and rows.
func TestRecordedClients(t *testing.T) {
	for name, want := range map[string]int{
		"dtfx-2.9.1": 1, "dtfx-2.9.1-blob-leases": 1, "dtfx-2.9.1-backlog": 61, "dtfx-2.9.1-odd": 1, "dtfx-2.9.1-poisoned": 2,
		"shared-tracking-TrackA": 8, "shared-tracking-TrackB": 8,
	} {
		t.Run(name, func(t *testing.T) {
			c := recordedHub(t, name)
			c.Names.TrackingPrefix = "" // in memory no table is shared
			e := testhub.NewEditor(emptied(c))
			now := recordedAt
			control := control(t, e, manage.ControlOptions{Now: func() time.Time { return now }})

			messages := recordedMessages(t, name, &c)
			byStart := func(m recordedMessage) int {
				if m.loaded.TaskMessage.Event.Type() == schema.TypeExecutionStarted {
					return 0
				}
				return 1
			}
			slices.SortStableFunc(messages, func(a, b recordedMessage) int { return byStart(a) - byStart(b) })
			sent := 0
			for _, m := range messages {
				now = m.loaded.TaskMessage.Event.Header().Timestamp.Time()
				id, _ := m.loaded.Target()
				switch event := m.loaded.TaskMessage.Event.(type) {
				case *schema.ExecutionStarted:
					if !event.ParentInstance.IsNull() || id == "big-tags" { // which we refuse: TestStartArguments
						continue
					}
					o := manage.StartOptions{
						Name: event.Name.Value, ID: id, Version: event.Version.Value, At: event.ScheduledStartTime.Value,
						Input: schema.Optional[string]{Value: event.Input.Value, Set: event.Input.Set},
					}
					if manage.CheckInstanceID(id) != nil {
						continue // the framework's own apps may
					}
					if _, err := control.Start(t.Context(), o); err != nil {
						t.Fatal(err)
					}
					sameRow(t, c, e.Content(), id)
				case *schema.EventRaised:
					if m.loaded.Sender == nil || m.loaded.Sender.InstanceID != "" || schema.IsEntity(id) {
						continue
					}
					data := schema.Optional[string]{Value: event.Input.Value, Set: event.Input.Set}
					_, err := control.Raise(t.Context(), id, event.Name.Value, data)
					if errors.Is(err, manage.ErrNoInstance) { // started long before
						if _, err = control.Start(t.Context(), manage.StartOptions{Name: "F", ID: id}); err == nil {
							_, err = control.Raise(t.Context(), id, event.Name.Value, data)
						}
					}
					if err != nil {
						t.Fatal(err)
					}
				default:
					continue
				}
				posted := e.Posted()
				got := posted[len(posted)-1]
				sent++
				delay := time.Duration(m.VisibleAt.Time().UnixMilli()-m.InsertedAt.Time().UnixMilli()) * time.Millisecond
				if event, ok := m.loaded.TaskMessage.Event.(*schema.ExecutionStarted); !ok || !event.ScheduledStartTime.Set {
					delay = 0 // it may have been received
				}
				wantText, gotText := sameEncoding(t, m.Text, got.Text)
				if got.Queue != m.Queue || got.Delay != delay || wantText != gotText {
					t.Errorf("message to %q: queue %s, delay %v\n%s\nwant queue %s, delay %v\n%s", id, got.Queue, got.Delay, gotText, m.Queue, delay, wantText)
				}
				if m.loaded.Blob == "" {
					continue
				}
				stored := schema.QueueMessage{Text: got.Text}
				loaded, err := hub.LoadMessage(t.Context(), e, c.Names.LargeMessages(), &stored, 0)
				if err != nil || testhub.Mask(loaded.JSON) != testhub.Mask(m.loaded.JSON) {
					t.Errorf("blob %s differs from that of the framework, %v", loaded.Blob, err)
				}
			}
			if sent != want {
				t.Errorf("%d messages compared, want %d", sent, want)
			}
		})
	}
}

// sameEncoding returns the masked texts of two messages; it fails if they are not
// encoded alike.
func sameEncoding(t testing.TB, want, got string) (string, string) {
	t.Helper()
	wantText, wantEnc, err1 := schema.MessageText(want)
	gotText, gotEnc, err2 := schema.MessageText(got)
	if err1 != nil || err2 != nil || wantEnc != gotEnc {
		t.Errorf("encodings %v and %v, %v, %v", wantEnc, gotEnc, err1, err2)
	}
	return testhub.Mask(wantText), testhub.Mask(gotText)
}

func sameRow(t testing.TB, want, got hubtest.Content, id string) {
	t.Helper()
	row := func(c *hubtest.Content) map[string]string {
		for i := range c.Tables[hub.Instances] {
			if r := &c.Tables[hub.Instances][i]; r.PartitionKey == schema.EscapeKey(id) {
				return testhub.MaskRow(r, true)
			}
		}
		return nil
	}
	if d := cmp.Diff(row(&want), row(&got)); d != "" {
		t.Errorf("row of %q differs (-framework +ours):\n%s", id, d)
	}
}

// small is a hub of our own.
func small(partitions int) hubtest.Content {
	c := hubtest.Content{Names: hub.Names{TaskHub: "Small"}, PartitionCount: partitions, PartitionCountFrom: hub.FromControlQueues}
	for i := range partitions {
		c.Queues = append(c.Queues, hubtest.Queue{Name: c.Names.ControlQueue(i)})
	}
	c.Queues = append(c.Queues, hubtest.Queue{Name: c.Names.WorkItemQueue()})
	return emptied(c)
}

func add(c *hubtest.Content, id, status string) {
	c.Tables[hub.Instances] = append(c.Tables[hub.Instances], instance(id, status, "F", t0))
}

// TestStartSizes stores inputs around the limits where the framework does. The
// limits are those that were found with version 2.9.1: messages of up to 46,080
// bytes and columns of up to 30,720 UTF-16 units.
func TestStartSizes(t *testing.T) {
	e := testhub.NewEditor(small(1))
	c := control(t, e, manage.ControlOptions{Random: strings.NewReader(strings.Repeat("\x00", 10_000)), Encoding: schema.Some(schema.PlainJSON)})
	start := func(id string, n int) (text string, row schema.Instance) {
		t.Helper()
		if _, err := c.Start(t.Context(), manage.StartOptions{Name: "F", ID: id, Input: schema.Some(`"` + strings.Repeat("x", n-2) + `"`)}); err != nil {
			t.Fatal(err)
		}
		posted := e.Posted()
		for _, r := range e.Content().Tables[hub.Instances] {
			if r.PartitionKey == id {
				row, _ = schema.DecodeInstance(&r)
			}
		}
		return posted[len(posted)-1].Text, row
	}

	text, row := start("fits", schema.MaxColumnUnits)
	if !strings.Contains(text, "xxx") || len(row.Input.Value) != 30720 || row.Input.Blob != "" {
		t.Errorf("30,720 characters: %d in the message, %d in the row, blob %q", len(text), len(row.Input.Value), row.Input.Blob)
	}
	text, row = start("wide", schema.MaxColumnUnits+1)
	blob := "wide/history--Input-00000000-Input.json.gz"
	if !strings.Contains(text, "xxx") || row.Input.Value != "" || row.Input.Blob != blob {
		t.Errorf("30,721 characters: %d in the message, %d in the row, blob %q", len(text), len(row.Input.Value), row.Input.Blob)
	}
	loaded, err := hub.LoadText(t.Context(), e, e.Content().Names.LargeMessages(), blob, 0)
	if err != nil || len(loaded) != 30721 {
		t.Errorf("the blob has %d characters, %v", len(loaded), err)
	}

	// The same start twice, but for a byte of input: the message is once as long
	// as a message can be, and once longer.
	probe, _ := start("at460", 10)
	fits := 46080 - len(probe) + 10 - 2*len("80") // the ID is in it twice
	text, row = start("at46080", fits)
	if len(text) != 46080 || strings.Contains(text, "CompressedBlobName\":\"") || row.Input.Blob == "" {
		t.Errorf("46,080 bytes: a message of %d bytes, input in blob %q", len(text), row.Input.Blob)
	}
	text, row = start("at46081", fits+1)
	const large = "at46081/message-00000000000040008000000000000000-ExecutionStarted.json.gz"
	if !strings.Contains(text, `"TaskMessage":null,"CompressedBlobName":"`+large+`"`) ||
		row.Input.Value != "http://127.0.0.1:10000/devstoreaccount1/small-largemessages/"+large || row.Input.Blob != "" {
		t.Errorf("46,081 bytes: message %.300s\nrow %.300s, blob %q", text, row.Input.Value, row.Input.Blob)
	}
}

// TestStartOptions checks what recorded starts do not have.
func TestStartOptions(t *testing.T) {
	e := testhub.NewEditor(small(4))
	now := recordedAt
	c := control(t, e, manage.ControlOptions{Now: func() time.Time { return now }})
	at := schema.TicksOf(now.Add(90*time.Minute + 700*time.Millisecond))
	s, err := c.Start(t.Context(), manage.StartOptions{
		Name: "F", ID: "tagged", Input: schema.Some(" { \"n\" : 1.50 ,\n\"e\": 1e3 , \"s\" : \"a  b\" } "), Version: "2.1",
		Tags: map[string]string{"tenant": "contoso", "a\"b": "é"}, At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	posted := e.Posted()[0]
	for _, part := range []string{
		`"Version":"2.1","Input":"{\"n\":1.50,\"e\":1e3,\"s\":\"a  b\"}"`,
		// Recorded in instance big-tags of hub dtfx-2.9.1-odd.
		`"Tags":{"$type":"System.Collections.Generic.Dictionary` + "`" + `2[[System.String, System.Private.CoreLib],[System.String, System.Private.CoreLib]]","a\"b":"é","tenant":"contoso"}`,
		`"ScheduledStartTime":"2026-11-22T05:39:15.8234567Z"`,
	} {
		text, _, _ := schema.MessageText(posted.Text)
		if !strings.Contains(text, part) {
			t.Errorf("message %s\nhas no %s", text, part)
		}
	}
	if posted.Delay != 90*time.Minute || s.VisibleAt == 0 {
		t.Errorf("delay %v, visible at %s", posted.Delay, s.VisibleAt)
	}
	row := e.Content().Tables[hub.Instances][0]
	for column, want := range map[string]string{
		"Tags": `{"a\"b":"é","tenant":"contoso"}`, "Version": "2.1", "ScheduledStartTime": "2026-11-22T05:39:15.8234567Z",
		"Input": `{"n":1.50,"e":1e3,"s":"a  b"}`,
	} {
		if got := row.Get(column).String(); got != want {
			t.Errorf("%s = %s, want %s", column, got, want)
		}
	}

	// A time that has passed is now.
	if s, err = c.Start(t.Context(), manage.StartOptions{Name: "F", ID: "late", At: t0}); err != nil || s.VisibleAt != 0 {
		t.Errorf("a start in the past: %+v, %v", s, err)
	}
	// IDs of our own are GUIDs, and no two are the same.
	ids := make(map[string]bool)
	for range 3 {
		if s, err = c.Start(t.Context(), manage.StartOptions{Name: "F"}); err != nil {
			t.Fatal(err)
		}
		ids[s.InstanceID], ids[s.ExecutionID] = true, true
		if len(s.InstanceID) != 32 || strings.Trim(s.InstanceID, "0123456789abcdef") != "" {
			t.Errorf("instance ID %q", s.InstanceID)
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d different IDs, want 6", len(ids))
	}
}

// TestDedupe starts over instances in each status.
func TestDedupe(t *testing.T) {
	for _, status := range append(schema.Statuses(), schema.StatusUnknown) {
		for name, dedupe := range map[string][]schema.Status{"default": nil, "none": {}, "failed": {schema.StatusFailed}} {
			content := small(1)
			add(&content, "x", status.String())
			e := testhub.NewEditor(content)
			s, err := control(t, e, manage.ControlOptions{}).Start(t.Context(), manage.StartOptions{Name: "F", ID: "x", DedupeStatuses: dedupe})
			refused := map[string]bool{
				"default": strings.Contains("Running Pending Suspended ContinuedAsNew", status.String()),
				"failed":  status == schema.StatusFailed,
			}[name]
			switch {
			case refused:
				if !errors.Is(err, manage.ErrExists) || !strings.Contains(err.Error(), "with the status "+status.String()+" exists already") {
					t.Errorf("start over %v with dedupe statuses %s: %v, want ErrExists", status, name, err)
				}
				unchanged(t, "a start that was refused", content, e.Content())
			case err != nil || !s.Replaced || s.Generation != 1 || s.Status != status:
				t.Errorf("start over %v with dedupe statuses %s: %+v, %v", status, name, s, err)
			}
		}
	}
}

// TestArguments refuses what cannot be stored, or read by the framework, before
// anything is written.
func TestArguments(t *testing.T) {
	content := small(4)
	add(&content, "running", "Running")
	add(&content, "@e@k", "Running")
	e := testhub.NewEditor(content)
	c := control(t, e, manage.ControlOptions{})
	ctx := t.Context()
	start := func(o manage.StartOptions) error {
		if o.Name == "" {
			o.Name = "F"
		}
		_, err := c.Start(ctx, o)
		return err
	}
	text := schema.Some[string]
	for name, do := range map[string]func() error{
		"@ in front":              func() error { return start(manage.StartOptions{ID: "@x"}) },
		"257 characters":          func() error { return start(manage.StartOptions{ID: strings.Repeat("é", 257)}) },
		"257 UTF-16 units":        func() error { return start(manage.StartOptions{ID: strings.Repeat("😀", 128) + "x"}) },
		"a slash":                 func() error { return start(manage.StartOptions{ID: "a/b"}) },
		"a backslash":             func() error { return start(manage.StartOptions{ID: `a\b`}) },
		"a hash":                  func() error { return start(manage.StartOptions{ID: "a#b"}) },
		"a question mark":         func() error { return start(manage.StartOptions{ID: "a?b"}) },
		"a control character":     func() error { return start(manage.StartOptions{ID: "a\u0085b"}) },
		"a line break":            func() error { return start(manage.StartOptions{ID: "a\n"}) },
		"an ID that is not UTF-8": func() error { return start(manage.StartOptions{ID: "a\xFF"}) },
		"a blank name":            func() error { return start(manage.StartOptions{Name: " "}) },
		"a long name":             func() error { return start(manage.StartOptions{Name: strings.Repeat("n", 30721)}) },
		"input that is not JSON":  func() error { return start(manage.StartOptions{Input: text("{bad")}) },
		"input and more":          func() error { return start(manage.StartOptions{Input: text(`{"a":1} x`)}) },
		"empty input":             func() error { return start(manage.StartOptions{Input: text("")}) },
		"input that is not UTF-8": func() error { return start(manage.StartOptions{Input: text("\"\xFF\"")}) },
		"tags beyond a column": func() error {
			return start(manage.StartOptions{Tags: map[string]string{"a": strings.Repeat("x", 30720)}})
		},
		"a tag called $type": func() error { return start(manage.StartOptions{Tags: map[string]string{"$type": "x"}}) },
		"a start in eight days": func() error {
			return start(manage.StartOptions{At: schema.TicksOf(recordedAt.Add(8 * 24 * time.Hour))})
		},
		"an event for an entity":      func() error { _, err := c.Raise(ctx, "@e@k", "op", text("1")); return err },
		"event data that is not JSON": func() error { _, err := c.Raise(ctx, "running", "e", text("words")); return err },
		"a reason that is not UTF-8":  func() error { _, err := c.Terminate(ctx, "running", text("\xFF")); return err },
		"no instance ID":              func() error { _, err := c.Suspend(ctx, "", text("x")); return err },
		"restart of an entity":        func() error { _, err := c.Restart(ctx, "@e@k", manage.RestartOptions{}); return err },
		"the same and another ID": func() error {
			_, err := c.Restart(ctx, "running", manage.RestartOptions{SameID: true, NewID: "x"})
			return err
		},
		"an entity without a name": func() error {
			_, err := c.SignalEntity(ctx, manage.Signal{Entity: schema.EntityID{Key: "k"}})
			return err
		},
		"an entity key with a slash": func() error {
			_, err := c.SignalEntity(ctx, manage.Signal{Entity: schema.EntityID{Name: "e", Key: "/"}})
			return err
		},
		"a signal that is not JSON": func() error {
			_, err := c.SignalEntity(ctx, manage.Signal{Entity: schema.EntityID{Name: "e"}, Input: text("x")})
			return err
		},
		"a status that is not JSON": func() error { return c.SetCustomStatus(ctx, "running", text("x")) },
		"a status that is too long": func() error { return c.SetCustomStatus(ctx, "running", text(`"`+strings.Repeat("x", 32767)+`"`)) },
		"the status of an entity":   func() error { return c.SetCustomStatus(ctx, "@e@k", text("1")) },
	} {
		var argument *manage.ArgumentError
		if err := do(); !errors.As(err, &argument) || argument.Argument == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want an *ArgumentError", name, err)
		}
		unchanged(t, name, content, e.Content())
	}
	for _, id := range []string{strings.Repeat("é", 256), "ünï-日本", "quote'id", "a^b", "%2F", "a@b"} {
		if err := start(manage.StartOptions{ID: id}); err != nil {
			t.Errorf("ID %q: %v", id, err)
		}
	}
}

// TestEncoding follows the messages that a hub has, or what it looks like.
func TestEncoding(t *testing.T) {
	const message = `{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"x"}`
	for name, tt := range map[string]struct {
		messages   []string // in the last control queue
		partitions bool     // there is a Partitions table
		option     schema.Optional[schema.Encoding]
		want       schema.Encoding
	}{
		"plain":           {messages: []string{message}, want: schema.PlainJSON},
		"Base64":          {messages: []string{schema.EncodeBody([]byte(message), schema.Base64)}, partitions: true, want: schema.Base64},
		"after something": {messages: []string{"{}", "words", schema.EncodeBody([]byte(message), schema.Base64)}, partitions: true, want: schema.Base64},
		"no message, 2.x": {partitions: true, want: schema.PlainJSON},
		"no message, 1.x": {want: schema.Base64},
		"option":          {messages: []string{message}, option: schema.Some(schema.Base64), want: schema.Base64},
	} {
		t.Run(name, func(t *testing.T) {
			content := small(3)
			for _, m := range tt.messages {
				q := &content.Queues[2]
				q.Messages = append(q.Messages, schema.QueueMessage{Text: m})
				q.ApproximateCount++
			}
			if tt.partitions {
				content.Tables[hub.Partitions] = []schema.Row{{RowKey: "small-control-00"}}
			}
			e := testhub.NewEditor(content)
			c := control(t, e, manage.ControlOptions{Encoding: tt.option})
			if _, err := c.Start(t.Context(), manage.StartOptions{Name: "F", Input: schema.Some("\"\uFFFE\uFFFF\"")}); err != nil {
				t.Fatal(err)
			}
			text, enc, err := schema.MessageText(e.Posted()[0].Text)
			if err != nil || enc != tt.want {
				t.Errorf("encoding %v, %v, want %v", enc, err, tt.want)
			}
			// Two characters that JSON may have and XML may not.
			if !strings.Contains(text, `"Input":"\"\ufffe\uffff\""`) {
				t.Errorf("message %s", text)
			}
		})
	}
}

// TestNoHub finds nothing to operate.
func TestNoHub(t *testing.T) {
	opts := manage.ControlOptions{Now: time.Now}
	e := testhub.NewEditor(hubtest.Content{Names: hub.Names{TaskHub: "Nowhere"}})
	if _, err := manage.NewControl(t.Context(), e, e, opts); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("no hub: %v, want ErrNotFound", err)
	}
	e = testhub.NewEditor(hubtest.Content{Names: hub.Names{TaskHub: "Tables"}, Tables: map[hub.Table][]schema.Row{hub.Instances: nil}})
	if _, err := manage.NewControl(t.Context(), e, e, opts); !errors.Is(err, manage.ErrNoPartitions) {
		t.Errorf("no queues: %v, want ErrNoPartitions", err)
	}
	if n := len(e.Edits()); n > 0 {
		t.Errorf("%d changes", n)
	}
}

// TestNoPermission tries everything with credentials that may only read.
func TestNoPermission(t *testing.T) {
	emulator := testhub.Azurite(t)
	content := recordedHub(t, "functions-3")
	testhub.Load(t, emulator, content)
	e := openLive(t, "BlobEndpoint="+emulator.BlobURL+";QueueEndpoint="+emulator.QueueURL+";TableEndpoint="+emulator.TableURL+
		";SharedAccessSignature="+emulator.SAS("bqt", "rl"), content.Names)
	before := testhub.ContentOf(t, e)
	c := control(t, e, manage.ControlOptions{})
	ctx := t.Context()
	reason := schema.Some("x")
	large := schema.Some(`"` + strings.Repeat("x", 100_000) + `"`)
	for name, do := range map[string]func() error{
		"start":       func() error { _, err := c.Start(ctx, manage.StartOptions{Name: "F"}); return err },
		"large start": func() error { _, err := c.Start(ctx, manage.StartOptions{Name: "F", Input: large}); return err },
		"restart":     func() error { _, err := c.Restart(ctx, "hello-1", manage.RestartOptions{}); return err },
		"terminate":   func() error { _, err := c.Terminate(ctx, "wait-1", reason); return err },
		"suspend":     func() error { _, err := c.Suspend(ctx, "wait-1", reason); return err },
		"resume":      func() error { _, err := c.Resume(ctx, "wait-4", reason); return err },
		"raise":       func() error { _, err := c.Raise(ctx, "wait-1", "e", large); return err },
		"signal": func() error {
			_, err := c.SignalEntity(ctx, manage.Signal{Entity: schema.EntityID{Name: "e"}})
			return err
		},
		"rewind": func() error { _, _, err := c.Rewind(ctx, "failing-1", manage.RewindOptions{}); return err },
		"status": func() error { return c.SetCustomStatus(ctx, "wait-1", schema.Some("1")) },
	} {
		if err := do(); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("%s: error %v, want ErrUnauthorized", name, err)
		}
	}
	unchanged(t, "everything", before, testhub.ContentOf(t, e))
}

// TestDryRun does everything without an Editor: the results are those of doing
// it, and nothing could be written.
func TestDryRun(t *testing.T) {
	emulator := testhub.Azurite(t)
	content := recordedHub(t, "functions-3")
	testhub.Load(t, emulator, content)
	p := testhub.NewProxy(t, emulator)
	e := openLive(t, p.ConnectionString(), content.Names)
	opts := manage.ControlOptions{Now: func() time.Time { return recordedAt }}
	c, err := manage.NewControl(t.Context(), e, nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range httpCalls(t) {
		if strings.Contains(k.name, "over pending") || strings.Contains(k.name, "w-start") || strings.HasSuffix(k.name, "pending") {
			continue // needs what an earlier call has written
		}
		skipped, err := k.do(c)
		k.check(t, skipped, err)
	}
	if err := c.SetCustomStatus(t.Context(), "wait-1", schema.Some("1")); err != nil {
		t.Error(err)
	}
	if m := p.Mutating(); len(m) > 0 {
		t.Errorf("requests that change something: %q", m)
	}
	if n := len(p.Requests()); n == 0 {
		t.Error("no requests at all")
	}
}
