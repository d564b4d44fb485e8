package live

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"github.com/taskhub-tools/taskhub/schema"
)

// A transaction is written here and not by the SDK, which unmarshals each row into
// a map and marshals it again: that takes most of the time of a copy, and makes six
// bytes of each <, > and &, with which rows that fit into a transaction no longer
// do. It also puts keys into URLs without doubling their quotes, so that the row of
// another key is replaced.
//
// The text of a row has no line breaks, so that a boundary cannot occur in it.
//
// Source: https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions.
const (
	batchType       = "multipart/mixed; boundary=batch_rows"
	changesetBegin  = "--batch_rows\r\nContent-Type: multipart/mixed; boundary=changeset_rows\r\n\r\n"
	operationBegin  = "--changeset_rows\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	operationHeader = " HTTP/1.1\r\nContent-Type: application/json\r\nAccept: application/json;odata=minimalmetadata\r\n" +
		"DataServiceVersion: 3.0\r\nPrefer: return-no-content\r\n\r\n"
	batchEnd = "--changeset_rows--\r\n--batch_rows--\r\n"
)

// appendTransaction appends the body of a transaction that inserts rows into the
// table with this URL, or replaces those that exist.
func appendTransaction(dst []byte, table string, rows []schema.Row, replace bool) []byte {
	dst = append(dst, changesetBegin...)
	for i := range rows {
		r := rows[i]
		r.Timestamp, r.ETag = 0, "" // the service's
		dst = append(dst, operationBegin...)
		if replace {
			dst = fmt.Appendf(dst, "PUT %s(PartitionKey='%s',RowKey='%s')", table, keyInURL(r.PartitionKey), keyInURL(r.RowKey))
		} else {
			dst = append(append(dst, "POST "...), table...)
		}
		dst = append(dst, operationHeader...)
		text := len(dst)
		if dst = r.AppendJSON(dst); bytes.Contains(dst[text:], lineSeparator[:2]) {
			dst = append(dst[:text], escapeSeparators(dst[text:])...)
		}
		dst = append(dst, "\r\n"...)
	}
	return append(dst, batchEnd...)
}

// The two line breaks that JSON allows in strings, and the emulator does not.
var lineSeparator, paragraphSeparator = []byte("\u2028"), []byte("\u2029")

func escapeSeparators(text []byte) []byte {
	text = bytes.ReplaceAll(text, lineSeparator, []byte(`\u2028`))
	return bytes.ReplaceAll(text, paragraphSeparator, []byte(`\u2029`))
}

func keyInURL(key string) string { return url.PathEscape(doubleQuotes(key)) }

// batch writes rows of one partition in one transaction.
func (a *Account) batch(ctx context.Context, table string, rows []schema.Row, replace bool) error {
	c := call{body: appendTransaction(nil, strings.TrimSuffix(a.tableEndpoint, "/")+"/"+table, rows, replace), bodyType: batchType}
	// The SDK signs and sends it, and reads the answer.
	placeholder := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: []byte(`{"PartitionKey":"","RowKey":""}`)}
	if _, err := a.tables.NewClient(table).SubmitTransaction(c.in(ctx), []aztables.TransactionAction{placeholder}, nil); err != nil {
		return c.fail(ctx, err)
	}
	return nil
}

// bodyPolicy sends the body that a call brings in the place of the SDK's.
type bodyPolicy struct{}

// Do implements [policy.Policy].
func (bodyPolicy) Do(req *policy.Request) (*http.Response, error) {
	if c, _ := req.Raw().Context().Value(callKey{}).(*call); c != nil && c.bodyType != "" {
		if err := req.SetBody(streaming.NopCloser(bytes.NewReader(c.body)), c.bodyType); err != nil {
			return nil, err
		}
	}
	return req.Next()
}
