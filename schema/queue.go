package schema

// QueueMessage is a message as the Queue service holds it.
type QueueMessage struct {
	Queue        string
	ID           string
	InsertedAt   Ticks
	ExpiresAt    Ticks
	VisibleAt    Ticks // zero if unknown: peeking does not tell
	DequeueCount int64
	// Text is the body as stored: JSON, or Base64 of JSON (see DecodeMessage).
	Text string
}
