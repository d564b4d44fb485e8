package hub

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// BlobReader is the part of [Reader] that loading payloads needs.
type BlobReader interface {
	ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error)
}

// DefaultPayloadBytes is the limit for one payload where the caller sets none.
const DefaultPayloadBytes = 64 << 20

// LoadText returns the text of a payload blob, which is stored as gzip. limit
// bounds the text, and with it what is ever held of the blob; 0 means
// [DefaultPayloadBytes].
//
// It returns ErrNotFound, ErrTooLarge, or the error of a blob that is not whole
// gzip; each names the blob.
func LoadText(ctx context.Context, r BlobReader, container, name string, limit int64) (string, error) {
	if limit <= 0 {
		limit = DefaultPayloadBytes
	}
	stored, err := r.ReadBlob(ctx, container, name, limit)
	switch {
	case errors.Is(err, ErrNotFound):
		// Without the request, which would make exports of one hub differ.
		return "", fmt.Errorf("blob %s: %w", name, ErrNotFound)
	case err != nil:
		return "", err // names the blob
	}
	text, err := gunzip(stored, limit)
	if err != nil {
		return "", fmt.Errorf("blob %s: %w", name, err)
	}
	return text, nil
}

func gunzip(stored []byte, limit int64) (string, error) {
	z, err := gzip.NewReader(bytes.NewReader(stored))
	if err != nil {
		return "", fmt.Errorf("gzip: %w", err)
	}
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("gzip: %w", err)
	case n > limit:
		return "", fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	return text.String(), nil
}

var errNoStart = errors.New("the message in the blob does not start an orchestration")

// LoadRef returns the text that a column of an Instances row refers to.
func LoadRef(ctx context.Context, r BlobReader, container string, ref schema.Ref, limit int64) (schema.Text, error) {
	text, err := LoadText(ctx, r, container, ref.Blob, limit)
	if err != nil {
		return schema.Text{}, err
	}
	if !ref.InMessage {
		return schema.TextOf(text), nil
	}
	m, err := schema.DecodeMessage(text, ref.Blob)
	if err != nil {
		return schema.Text{}, fmt.Errorf("blob %s: %w", ref.Blob, err)
	}
	if m.TaskMessage != nil {
		if start, ok := m.TaskMessage.Event.(*schema.ExecutionStarted); ok {
			return start.Input, nil
		}
	}
	return schema.Text{}, fmt.Errorf("blob %s: %w", ref.Blob, errNoStart)
}

// LoadedMessage is a decoded queue message.
type LoadedMessage struct {
	schema.Message
	// JSON is the text that Message was decoded from.
	JSON string
	// Blob is the name of the blob that a wrapper stands for, as it gives it;
	// empty for a message that is in the queue itself.
	Blob string
}

// LoadMessage decodes a queue message; if it is a wrapper, the message in the
// blob that it names. With an error it returns what could be read.
func LoadMessage(ctx context.Context, r BlobReader, container string, q *schema.QueueMessage, limit int64) (m LoadedMessage, err error) {
	if m.JSON, _, err = schema.MessageText(q.Text); err != nil {
		return LoadedMessage{}, &schema.DecodeError{Where: q.Queue + "/" + q.ID, Err: err}
	}
	m.Message, err = schema.DecodeMessage(m.JSON, q.Queue+"/"+q.ID)
	if err != nil {
		return m, err
	}
	if m.Blob = m.CompressedBlobName.Value; m.Blob == "" || m.TaskMessage != nil {
		return m, nil
	}
	blob := schema.StoredBlobName(m.Blob)
	text, err := LoadText(ctx, r, container, blob, limit)
	if err != nil {
		return m, err
	}
	m.JSON = text
	m.Message, err = schema.DecodeMessage(text, blob)
	return m, err
}

// PackText returns a payload blob with a text, and its content, as the framework
// stores them. name is as rows and messages have it.
//
// Source: durabletask 2.9.1, MessageManager.cs:220-281.
func PackText(container, name string, text []byte) (b Blob, packed []byte, err error) {
	var content bytes.Buffer
	z := gzip.NewWriter(&content)
	z.OS = 3 // as .NET has it
	if _, err := z.Write(text); err != nil {
		return Blob{}, nil, err
	}
	if err := z.Close(); err != nil {
		return Blob{}, nil, err
	}
	return Blob{Container: container, Name: schema.StoredBlobName(name), ContentType: "application/octet-stream"}, content.Bytes(), nil
}
