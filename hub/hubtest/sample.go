package hubtest

import (
	"crypto/md5" // what the Blob service keeps of each blob
	"fmt"
	"math"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// partitionKeys of the sample, in the order of UTF-16 units: the emoji, two
// surrogates, comes before U+E000 although its UTF-8 is greater.
var partitionKeys = []string{
	"", "A", "a", "a'b", "a-1", "a-10", "a^0b^2", "many", `q"uote`, "wide", "ü-日本語", "😀", "\uE000", "\uFF5E",
}

// exactKeys cannot be keys in the service, but a capture holds what it is given.
var exactKeys = []string{"x\\y", "x\x01\ty\n"}

const sampleTime = schema.Ticks(639_100_000_000_000_000) // in 2026

// sample returns a hub with something of everything. Rows of the partition wide
// have 600 KiB, more than any page or frame.
func sample(exact bool) Content {
	names := hub.Names{TaskHub: "SampleHub"}
	c := Content{
		Names: names, PartitionCount: 2, PartitionCountFrom: hub.FromControlQueues,
		Tables: make(map[hub.Table][]schema.Row),
	}
	keys := partitionKeys
	if exact {
		keys = append(keys[:len(keys):len(keys)], exactKeys...)
		c.Account = "sampleaccount"
	}
	n := 0
	add := func(t hub.Table, partition, row string, props ...schema.Property) {
		n++
		r := schema.Row{PartitionKey: partition, RowKey: row, Properties: props}
		if exact {
			r.Timestamp = sampleTime + schema.Ticks(n)
			r.ETag = fmt.Sprintf(`W/"datetime'%d'"`, n)
		}
		c.Tables[t] = append(c.Tables[t], r)
	}
	for i, k := range keys {
		rows, text := 3, "text of "+k
		switch k {
		case "many":
			rows = 40
		case "wide":
			rows, text = 300, strings.Repeat("wide ", 400)
		}
		for seq := range rows {
			add(hub.History, k, schema.FormatSequence(int64(seq)),
				schema.Property{Name: "EventType", Value: schema.String("TaskCompleted")},
				schema.Property{Name: "EventId", Value: schema.Int32(int32(seq))},
				schema.Property{Name: "_Timestamp", Value: schema.DateTime(sampleTime + schema.Ticks(seq))},
				schema.Property{Name: "Result", Value: schema.String(text)},
				schema.Property{Name: "IsPlayed", Value: schema.Boolean(seq%2 == 0)},
			)
		}
		add(hub.History, k, schema.SentinelRowKey, schema.Property{Name: "ExecutionId", Value: schema.String(fmt.Sprint(i))})
		add(hub.Instances, k, "", sampleProperties(i, exact)...)
	}
	for i := range c.PartitionCount {
		c.Queues = append(c.Queues, Queue{Name: names.ControlQueue(i)})
	}
	c.Queues = append(c.Queues, Queue{Name: names.WorkItemQueue()})
	for i := range 3 {
		m := schema.QueueMessage{
			Queue: c.Queues[0].Name, ID: fmt.Sprintf("message-%d", i),
			Text: fmt.Sprintf("{\"n\":%d,\"text\":\"<&>\\u2028 😀 \\\"\"}\n", i),
		}
		if exact {
			m.InsertedAt, m.ExpiresAt = sampleTime+schema.Ticks(i), schema.MaxTicks
			m.DequeueCount = int64(i)
			if i == 2 {
				m.VisibleAt = sampleTime + 1
			}
		}
		c.Queues[0].Messages = append(c.Queues[0].Messages, m)
	}
	c.Queues[0].ApproximateCount = 3
	c.Queues[1].ApproximateCount = 2 // both invisible

	c.Containers = []hub.Container{{Name: names.AppLease()}, {Name: names.LargeMessages()}, {Name: names.Leases()}}
	if exact {
		c.Containers[0].LeaseState = "leased"
	}
	for i, name := range []string{
		"a/history-1.json.gz", "a/history-2.json.gz", "a^0b^2/message-1.json.gz", "empty", "ü 日本/😀.json.gz", "ü 日本/\uFF5E.json.gz",
	} {
		data := []byte(strings.Repeat(fmt.Sprint("blob ", i/2, "\x00\xFF"), 100*i/2)) // some alike, one empty
		b := Blob{Data: data, Blob: hub.Blob{
			Container: names.LargeMessages(), Name: name, SizeBytes: int64(len(data)), ContentType: "application/octet-stream",
		}}
		if exact {
			sum := md5.Sum(data)
			b.ContentMD5 = sum[:]
			b.CreatedAt, b.LastModified, b.LeaseState = sampleTime, sampleTime+schema.Ticks(i), "available"
		}
		if i == 1 {
			b.Metadata = map[string]string{"first": "1", "second": "two"}
		}
		c.Blobs = append(c.Blobs, b)
	}
	c.Blobs = append(c.Blobs, Blob{Data: []byte("{}"), Blob: hub.Blob{
		Container: names.AppLease(), Name: "samplehub-appleaseinfo", SizeBytes: 2, ContentType: "application/octet-stream",
	}})
	c.Sort()
	return c
}

// sampleProperties covers every type and its limits.
func sampleProperties(i int, exact bool) []schema.Property {
	if i%3 == 2 {
		return nil // a row with keys only
	}
	first := schema.DateTime(504_911_232_000_000_000) // 1601-01-01, the first that the service takes
	props := []schema.Property{
		{Name: "Name", Value: schema.String("Order")},
		{Name: "Empty", Value: schema.String("")},
		{Name: "Input", Value: schema.String("\"quoted\" \\ <&> \u2028 \t\r\n\u007f 😀 \uE000")},
		{Name: "Null", Value: schema.String("null")},
		{Name: "Small", Value: schema.Int32(math.MinInt32)},
		{Name: "Zero", Value: schema.Int32(0)},
		{Name: "Large", Value: schema.Int64(math.MaxInt64)},
		{Name: "Long", Value: schema.Int64(-1)},
		{Name: "Half", Value: schema.Double(0.5)},
		{Name: "Whole", Value: schema.Double(3)},
		{Name: "Tiny", Value: schema.Double(5e-324)},
		{Name: "Yes", Value: schema.Boolean(true)},
		{Name: "No", Value: schema.Boolean(false)},
		{Name: "CreatedTime", Value: schema.DateTime(sampleTime + 1_234_567)},
		{Name: "MinTime", Value: first},
		{Name: "MaxTime", Value: schema.DateTime(schema.MaxTicks)},
		{Name: "Guid", Value: schema.Guid("c9da6455-213d-42c9-9a79-3e9149a57833")},
		{Name: "Binary", Value: schema.Binary([]byte{0, 1, 0xFE, 0xFF})},
		{Name: "日本", Value: schema.String("a column of another name")},
	}
	if exact {
		props = append(props,
			schema.Property{Name: "Nothing", Value: nullValue()},
			schema.Property{Name: "FirstTime", Value: schema.DateTime(0)},
			schema.Property{Name: "NaN", Value: schema.Double(math.NaN())},
			schema.Property{Name: "Infinite", Value: schema.Double(math.Inf(-1))},
			schema.Property{Name: "Later", Value: unknownValue()},
		)
	}
	return props
}

// nullValue and unknownValue can only be read.
func nullValue() schema.Value { return readValue(`"V":null`) }

func unknownValue() schema.Value {
	return readValue(`"V@odata.type":"Edm.Later","V":{"a":[1,2.50,"x"]}`)
}

func readValue(member string) schema.Value {
	var d schema.Decoder
	rows, err := d.Lines([]byte(`{"PartitionKey":"","RowKey":"",`+member+`}`), nil)
	if err != nil || len(rows) != 1 {
		panic(fmt.Sprintf("hubtest: internal error: %s: %v", member, err))
	}
	return rows[0].Get("V")
}
