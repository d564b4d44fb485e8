package migrate

import (
	"context"
	"crypto/md5" // what the Blob service keeps of each blob
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Digest tells a table, a container or the messages of a hub from all others: it
// is the SHA-256 of a text with one line for each item, which ends in a line feed.
//
// Of a table, the lines are its rows in the order of their keys, each as
// [schema.Row.AppendJSON] writes it without Timestamp and odata.etag, which are the
// service's: with properties in the order of their names, times with seven
// fractional digits and numbers of type Edm.Double in their shortest form. These
// are the lines of a capture but for the two members, so that for a hub whose
// times are stored with seven digits, as the framework's are,
//
//	zstdcat tables/OrdersHistory.ndjson.zst |
//	  sed -E 's/,"Timestamp":"[^"]*","odata.etag":"([^"\\]|\\.)*"//' | sha256sum
//
// gives the same.
//
// Of the container of large messages, the lines are its blobs in the order of
// their names, each a JSON array: name, size in bytes, and MD5 of the content in
// Base64, as the service keeps it of blobs that are uploaded as one. From a capture
// of a hub that was migrated or restored:
//
//	jq -c 'select(.container == "orders-largemessages") | [.name, .size_bytes, .content_md5]' \
//	  blobs/index.ndjson | sha256sum
//
// Of messages, there are two steps, because they have no order and can be too many
// to be sorted as a whole. Each message is a JSON array of three strings: the name
// of the queue, the time when it is due with seven fractional digits, empty if that
// is at once, and the body as it was put. The lines are the SHA-256 of these arrays
// in lower-case hexadecimal digits, sorted:
//
//	while read -r m; do printf %s "$m" | sha256sum | cut -c-64; done < messages | LC_ALL=C sort | sha256sum
type Digest struct {
	Items int64 `json:"items"`
	// SHA256 is in hexadecimal digits; empty if the reading was not finished.
	SHA256 string `json:"sha256,omitempty"`
}

// Digests are those of what a hub holds.
type Digests struct {
	// Tables has those of Instances and History, and of a target with the table
	// partition manager of Partitions.
	Tables map[hub.Table]Digest
	// Blobs is that of the large messages. Those that are made for messages with
	// the queues do not count.
	Blobs Digest
}

// equal reports whether what e tells is in d, too, and the same.
func (d *Digests) equal(e *Digests) bool {
	for table, digest := range e.Tables {
		if d.Tables[table] != digest {
			return false
		}
	}
	return d.Blobs == e.Blobs
}

// blobDigest is the name of Digests.Blobs in reports and journals.
const blobDigest = "large_messages"

// named returns digests by what they are of: the tables in lower case, and
// large_messages.
func (d *Digests) named() map[string]Digest {
	all := make(map[string]Digest)
	for table, digest := range d.Tables {
		all[strings.ToLower(table.String())] = digest
	}
	if d.Blobs.SHA256 != "" {
		all[blobDigest] = d.Blobs
	}
	return all
}

// lines is a digest that is being made.
type lines struct {
	hash  hash.Hash
	count int64
	text  []byte
	row   schema.Row
}

func newLines() *lines { return &lines{hash: sha256.New()} }

func (l *lines) end() Digest { return Digest{l.count, hex.EncodeToString(l.hash.Sum(nil))} }

// add adds what l.text holds, and returns its length.
func (l *lines) add() int64 {
	l.text = append(l.text, '\n')
	_, _ = l.hash.Write(l.text) // never fails
	l.count++
	return int64(len(l.text))
}

// addRow adds a row, which stays as it is.
func (l *lines) addRow(row *schema.Row) int64 {
	l.row.PartitionKey, l.row.RowKey = row.PartitionKey, row.RowKey
	l.row.Properties = append(l.row.Properties[:0], row.Properties...)
	for i := range l.row.Properties {
		v := &l.row.Properties[i].Value
		if t, ok := v.Time(); ok {
			*v = schema.DateTime(t)
		} else if f, ok := v.Float(); ok && !math.IsNaN(f) && !math.IsInf(f, 0) {
			*v = schema.Double(f)
		}
	}
	l.row.SortProperties()
	l.text = l.row.AppendJSON(l.text[:0])
	return l.add()
}

func (l *lines) addBlob(b *hub.Blob) {
	l.text = schema.AppendJSONString(append(l.text[:0], '['), b.Name)
	l.text = strconv.AppendInt(append(l.text, ','), b.SizeBytes, 10)
	if l.text = append(l.text, ','); b.ContentMD5 == nil {
		l.text = append(l.text, "null]"...)
	} else {
		l.text = append(l.text, '"')
		l.text = append(base64.StdEncoding.AppendEncode(l.text, b.ContentMD5), `"]`...)
	}
	l.add()
}

// addListed adds what the service tells of a blob without that it is read.
func (l *lines) addListed(b *hub.Blob) {
	l.text = schema.AppendJSONString(l.text[:0], b.Name)
	l.text = fmt.Appendf(l.text, " %d %x %d", b.SizeBytes, b.ContentMD5, b.LastModified)
	l.add()
}

// addItem adds an item of a plan with the body of its message: all of it that is
// written.
func (l *lines) addItem(i *Item, body string) {
	l.text = l.text[:0]
	for _, s := range []string{string(i.Kind), string(i.Origin), i.InstanceID, i.Queue, i.DueAt.String(), body, i.Blob, i.BlobText} {
		l.text = append(schema.AppendJSONString(l.text, s), ' ')
	}
	if i.Edit != nil {
		l.text = i.Edit.AppendJSON(l.text)
	}
	l.add()
}

// digesting is a hub that makes digests of what is read of it as a whole, row
// after row and blob after blob. It must not be used concurrently.
type digesting struct {
	hub.Reader
	// container is the one whose blobs count. A blob whose MD5 the service does
	// not tell, as of those that the framework has uploaded in blocks, is read if
	// it has at most maxBlob bytes; workers of them at once.
	container string
	maxBlob   int64
	workers   int
	// selection leaves out rows and blobs that stay. Rows are given out all the
	// same.
	selection *selection

	digests Digests
	// listed is that of blobs as the service lists them, and keys are those of the
	// keys of partitions, by table.
	listed Digest
	keys   map[hub.Table]Digest
	bytes  int64 // of rows
}

// newDigesting returns r with digests. Without opts, blobs are not read, and only
// listed.
func newDigesting(r hub.Reader, names hub.Names, opts *Options) *digesting {
	none := newLines().end() // there may be no container
	d := &digesting{
		Reader: r, container: names.LargeMessages(), keys: make(map[hub.Table]Digest),
		digests: Digests{Tables: make(map[hub.Table]Digest), Blobs: none}, listed: none,
	}
	if opts != nil {
		d.maxBlob, d.workers = opts.MaxBlobBytes, opts.Concurrency
	}
	return d
}

// state returns what has changed if the source has.
func (d *digesting) state() string {
	return strings.Join([]string{d.digests.Tables[hub.Instances].SHA256, d.digests.Tables[hub.History].SHA256, d.listed.SHA256}, " ")
}

// instances returns a digest of the IDs of all instances that have rows.
func (d *digesting) instances() string {
	l := newLines()
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		l.text = append(l.text[:0], d.keys[table].SHA256...)
		l.add()
	}
	return l.end().SHA256
}

func (d *digesting) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	rows := d.Reader.Rows(ctx, table, keys)
	if keys != (hub.Keys{}) {
		return rows
	}
	return func(yield func(schema.Row, error) bool) {
		l, partitions := newLines(), newLines()
		moves := moving{selection: d.selection}
		for row, err := range rows {
			if err != nil {
				yield(row, err)
				return
			}
			if !moves.has(row.PartitionKey) {
				if !yield(row, nil) {
					return
				}
				continue
			}
			if partitions.count == 0 || string(partitions.text[:len(partitions.text)-1]) != row.PartitionKey {
				partitions.text = append(partitions.text[:0], row.PartitionKey...)
				partitions.add()
			}
			d.bytes += l.addRow(&row)
			if !yield(row, nil) {
				return
			}
		}
		d.digests.Tables[table], d.keys[table] = l.end(), partitions.end()
	}
}

// blobsAhead is how many blobs are looked at together.
const blobsAhead = 64

func (d *digesting) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	blobs := d.Reader.Blobs(ctx, container, prefix)
	if container != d.container || prefix != "" {
		return blobs
	}
	return func(yield func(hub.Blob, error) bool) {
		l, listed := newLines(), newLines()
		var ahead []hub.Blob
		give := func() bool {
			if err := d.sum(ctx, ahead); err != nil {
				yield(hub.Blob{}, err)
				return false
			}
			for _, b := range ahead {
				l.addBlob(&b)
				if !yield(b, nil) {
					return false
				}
			}
			ahead = ahead[:0]
			return true
		}
		for b, err := range blobs {
			if err != nil {
				yield(hub.Blob{}, err)
				return
			}
			if !d.selection.hasBlob(b.Name) {
				continue
			}
			listed.addListed(&b)
			if ahead = append(ahead, b); len(ahead) == blobsAhead && !give() {
				return
			}
		}
		if !give() {
			return
		}
		d.digests.Blobs, d.listed = l.end(), listed.end()
	}
}

// sum finds out the MD5 of blobs. One that may not be read stays without: who
// compares the blobs says why.
func (d *digesting) sum(ctx context.Context, blobs []hub.Blob) error {
	memory := semaphore.NewWeighted(blobsInFlight)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, d.workers))
	for i := range blobs {
		b := &blobs[i]
		if b.ContentMD5 != nil || b.SizeBytes > d.maxBlob || d.workers == 0 {
			continue
		}
		size := max(0, min(b.SizeBytes, blobsInFlight))
		if memory.Acquire(ctx, size) != nil {
			return first(group.Wait(), context.Cause(ctx))
		}
		group.Go(func() error {
			defer memory.Release(size)
			data, err := d.ReadBlob(ctx, b.Container, b.Name, d.maxBlob)
			switch {
			case errors.Is(err, hub.ErrTooLarge), errors.Is(err, hub.ErrNotFound):
				return nil
			case err != nil:
				return err
			}
			sum := md5.Sum(data)
			b.ContentMD5 = sum[:]
			return nil
		})
	}
	return group.Wait()
}

// sentMessages are the digests of messages that were sent, by queue. They take
// about 60 bytes for each message.
type sentMessages map[string][]sentMessage

type sentMessage struct {
	line [sha256.Size]byte
	// body is the beginning of the SHA-256 of the body: what a peek shows does
	// not tell when it was due.
	body [16]byte
	due  schema.Ticks
}

func (s sentMessages) add(o *outgoing) {
	line := schema.AppendJSONString([]byte{'['}, o.queue)
	due := ""
	if o.due != 0 {
		due = o.due.String()
	}
	line = schema.AppendJSONString(append(line, ','), due)
	line = append(schema.AppendJSONString(append(line, ','), o.body), ']')
	s[o.queue] = append(s[o.queue], sentMessage{sha256.Sum256(line), bodySum(o.body), o.due})
}

// bodySum takes all line breaks for the same, as the XML does in which the service
// gives out messages.
func bodySum(body string) [16]byte {
	if strings.Contains(body, "\r") {
		body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", "\n")
	}
	sum := sha256.Sum256([]byte(body))
	return [16]byte(sum[:16])
}

// digest returns that of all messages.
func (s sentMessages) digest() Digest {
	var all [][sha256.Size]byte
	for _, messages := range s {
		for i := range messages {
			all = append(all, messages[i].line)
		}
	}
	slices.SortFunc(all, func(a, b [sha256.Size]byte) int { return slices.Compare(a[:], b[:]) })
	l := newLines()
	for i := range all {
		l.text = hex.AppendEncode(l.text[:0], all[i][:])
		l.add()
	}
	return l.end()
}
