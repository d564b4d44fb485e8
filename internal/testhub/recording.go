package testhub

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// LoadRecording reads one hub from a folder in which an account was dumped with
// all its hubs:
//
//	tables/TABLE.jsonl       entities as the service returned them
//	queues/QUEUE.jsonl       messages that peeking showed
//	queues-all/QUEUE.jsonl   all messages, from the emulator's database; may be missing
//	blobs/index.jsonl        blobs, each with the file that holds its bytes
//	blobs/containers.jsonl   containers and their leases; may be missing
//	dumped-at.txt            the time; may be missing
//
// The times of the result are those of dumped-at.txt, or else of the latest
// write to a row, as the dump is later than that. It returns hub.ErrNotFound if
// the hub has no table there.
func LoadRecording(dir string, names hub.Names) (*Memory, error) {
	l := recording{root: os.DirFS(dir), names: names}
	m, err := l.load()
	if err != nil {
		return nil, fmt.Errorf("load recording %s of %s: %w", filepath.Base(dir), names.TaskHub, err)
	}
	return m, nil
}

type recording struct {
	root  fs.FS
	names hub.Names
	c     hubtest.Content
}

func (l *recording) load() (*Memory, error) {
	l.c = hubtest.Content{Names: l.names, Account: "devstoreaccount1", Tables: make(map[hub.Table][]schema.Row)}
	for _, t := range hub.Tables {
		text, err := fs.ReadFile(l.root, "tables/"+l.names.Table(t)+".jsonl")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var d schema.Decoder
		if l.c.Tables[t], err = d.Lines(text, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", l.names.Table(t), err)
		}
	}
	if len(l.c.Tables) == 0 {
		return nil, fmt.Errorf("no table: %w", hub.ErrNotFound)
	}
	l.dropOtherHubs()
	if err := l.queues(); err != nil {
		return nil, err
	}
	if err := l.blobs(); err != nil {
		return nil, err
	}
	l.countPartitions()
	m := NewMemory(l.c)
	at, err := fs.ReadFile(l.root, "dumped-at.txt")
	switch {
	case err == nil:
		if m.Started, err = schema.ParseTicks(strings.TrimSpace(string(at))); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		for _, rows := range l.c.Tables {
			for i := range rows {
				m.Started = max(m.Started, rows[i].Timestamp)
			}
		}
	}
	m.Finished = m.Started
	return m, nil
}

// dropOtherHubs removes the rows of other hubs that share the tracking store.
// Only Instances tells whose they are, and not for rows of old versions.
func (l *recording) dropOtherHubs() {
	if l.names.TrackingPrefix == "" {
		return
	}
	others := make(map[string]bool)
	l.c.Tables[hub.Instances] = slices.DeleteFunc(l.c.Tables[hub.Instances], func(r schema.Row) bool {
		name, ok := r.Get("TaskHubName").Text()
		if ok && !strings.EqualFold(name, l.names.TaskHub) {
			others[r.PartitionKey] = true
			return true
		}
		return false
	})
	l.c.Tables[hub.History] = slices.DeleteFunc(l.c.Tables[hub.History], func(r schema.Row) bool { return others[r.PartitionKey] })
}

func (l *recording) queues() error {
	names := make(map[string]bool)
	for _, dir := range []string{"queues", "queues-all"} {
		files, err := fs.ReadDir(l.root, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, f := range files {
			name, ok := strings.CutSuffix(f.Name(), ".jsonl")
			if ok && (name == l.names.WorkItemQueue() || strings.HasPrefix(name, l.names.ControlQueuePrefix())) {
				names[name] = true
			}
		}
	}
	_, err := fs.Stat(l.root, "queues-all")
	counted := err == nil
	for name := range names {
		q := hubtest.Queue{Name: name}
		err := l.lines("queues/"+name+".jsonl", func(line []byte) error {
			m, err := peekedMessage(name, line)
			q.Messages = append(q.Messages, m)
			return err
		})
		if err != nil {
			return err
		}
		q.ApproximateCount = int64(len(q.Messages))
		if counted { // an empty queue has no file there
			q.ApproximateCount = 0
			err := l.lines("queues-all/"+name+".jsonl", func([]byte) error { q.ApproximateCount++; return nil })
			if err != nil {
				return err
			}
		}
		l.c.Queues = append(l.c.Queues, q)
	}
	return nil
}

func peekedMessage(queue string, line []byte) (schema.QueueMessage, error) {
	var v struct{ MessageID, InsertionTime, ExpirationTime, DequeueCount, MessageText string }
	if err := json.Unmarshal(line, &v); err != nil {
		return schema.QueueMessage{}, err
	}
	m := schema.QueueMessage{Queue: queue, ID: v.MessageID, Text: v.MessageText}
	var err1, err2, err3 error
	m.InsertedAt, err1 = httpTime(v.InsertionTime)
	m.ExpiresAt, err2 = httpTime(v.ExpirationTime)
	m.DequeueCount, err3 = strconv.ParseInt(v.DequeueCount, 10, 64)
	return m, errors.Join(err1, err2, err3)
}

// httpTime reads a time of the form Sun, 22 Nov 2026 05:07:24 GMT.
func httpTime(s string) (schema.Ticks, error) {
	if s == "" {
		return 0, nil
	}
	t, err := http.ParseTime(s)
	return schema.TicksOf(t), err
}

// properties are the headers of a blob or container.
type properties struct {
	Created  string `json:"Creation-Time"`
	Modified string `json:"Last-Modified"`
	Type     string `json:"Content-Type"`
	MD5      string `json:"Content-MD5"`
	Lease    string `json:"LeaseState"`
}

func (l *recording) blobs() error {
	containers := make(map[string]hub.Container)
	err := l.lines("blobs/containers.jsonl", func(line []byte) error {
		var v struct {
			Name       string
			Properties properties
		}
		err := json.Unmarshal(line, &v)
		containers[v.Name] = hub.Container{Name: v.Name, LeaseState: v.Properties.Lease}
		return err
	})
	if err != nil {
		return err
	}
	err = l.lines("blobs/index.jsonl", func(line []byte) error {
		var v struct {
			Container, Name, File string
			Properties            properties
			Metadata              map[string]string
		}
		if err := json.Unmarshal(line, &v); err != nil {
			return err
		}
		if !slices.Contains(l.names.Containers(), v.Container) {
			return nil
		}
		if _, ok := containers[v.Container]; !ok {
			containers[v.Container] = hub.Container{Name: v.Container}
		}
		data, err := fs.ReadFile(l.root, path.Join("blobs", v.File))
		if err != nil {
			return err
		}
		b := hubtest.Blob{Data: data, Blob: hub.Blob{
			Container: v.Container, Name: v.Name, SizeBytes: int64(len(data)),
			ContentType: v.Properties.Type, LeaseState: v.Properties.Lease, Metadata: v.Metadata,
		}}
		var err1, err2, err3 error
		b.CreatedAt, err1 = httpTime(v.Properties.Created)
		b.LastModified, err2 = httpTime(v.Properties.Modified)
		if v.Properties.MD5 != "" {
			b.ContentMD5, err3 = base64.StdEncoding.DecodeString(v.Properties.MD5)
		}
		l.c.Blobs = append(l.c.Blobs, b)
		return errors.Join(err1, err2, err3)
	})
	if err != nil {
		return err
	}
	for _, name := range l.names.Containers() {
		if c, ok := containers[name]; ok {
			l.c.Containers = append(l.c.Containers, c)
		}
	}
	return nil
}

func (l *recording) countPartitions() {
	c := &l.c
	if rows := c.Tables[hub.Partitions]; len(rows) > 0 {
		c.PartitionCount, c.PartitionCountFrom = len(rows), hub.FromPartitionsTable
		return
	}
	for _, b := range c.Blobs {
		var v struct{ PartitionCount int }
		if b.Container == l.names.Leases() && b.Name == "taskhub.json" && json.Unmarshal(b.Data, &v) == nil && v.PartitionCount > 0 {
			c.PartitionCount, c.PartitionCountFrom = v.PartitionCount, hub.FromTaskHubJSON
			return
		}
	}
	for _, q := range c.Queues {
		if strings.HasPrefix(q.Name, l.names.ControlQueuePrefix()) {
			c.PartitionCount++
			c.PartitionCountFrom = hub.FromControlQueues
		}
	}
}

// lines calls do with each line of a file. A file that does not exist has none.
func (l *recording) lines(name string, do func([]byte) error) error {
	text, err := fs.ReadFile(l.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, 8<<20)
	for n := 1; s.Scan(); n++ {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		if err := do(s.Bytes()); err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
	}
	return s.Err()
}
