package storage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/queueerror"
)

// MaxMessage is the largest JSON text, in bytes, that fits a queue message of
// 64 KiB as base64.
const MaxMessage = 48 << 10

// maxDelay is the service's limit of a visibility timeout.
const maxDelay = 7 * 24 * time.Hour

// Queue is one queue. It is safe for concurrent use. Messages are JSON in
// base64, the encoding the Functions host expects by default.
// https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api
type Queue struct {
	name   string
	client *azqueue.QueueClient
}

// Queue returns the client of a queue, which need not exist.
func (a *Account) Queue(name string) *Queue {
	return &Queue{name: name, client: a.queues.NewQueueClient(name)}
}

// Name returns the queue's name.
func (q *Queue) Name() string { return q.name }

// Send puts a value into the queue as JSON, and creates a missing queue. The message
// never expires. It becomes visible after delay, at most seven days, which Send rounds up
// to whole seconds.
func (q *Queue) Send(ctx context.Context, v any, delay time.Duration) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("send a message to queue %s: %w", q.name, err)
	}
	return q.SendText(ctx, body, delay)
}

// SendText is Send for a text that is put into the queue as it is.
func (q *Queue) SendText(ctx context.Context, body []byte, delay time.Duration) error {
	op := "send a message to queue " + q.name
	switch {
	case len(body) > MaxMessage:
		return fmt.Errorf("%s: it has %d bytes, and a queue message holds at most %d", op, len(body), MaxMessage)
	case delay < 0 || delay > maxDelay:
		return fmt.Errorf("%s: the delay %s is not between zero and seven days", op, delay)
	}
	o := &azqueue.EnqueueMessageOptions{
		TimeToLive:        to.Ptr[int32](-1),
		VisibilityTimeout: to.Ptr(int32((delay + time.Second - 1) / time.Second)),
	}
	return creating(ctx, string(queueerror.QueueNotFound), op, q.client.Create, func(ctx context.Context) error {
		_, err := q.client.EnqueueMessage(ctx, base64.StdEncoding.EncodeToString(body), o)
		return err
	})
}

// Message is one message as Peek sees it.
type Message struct {
	ID       string
	Body     []byte // decoded, see DecodeMessage
	Inserted time.Time
	Dequeued int // how often it was taken from the queue
}

func message(id, text *string, inserted *time.Time, dequeued *int64) Message {
	return Message{ID: value(id), Body: DecodeMessage(value(text)), Inserted: value(inserted).UTC(), Dequeued: int(value(dequeued))}
}

// maxPeek is how many messages one call returns at most.
const maxPeek = 32

// Peek returns up to limit visible messages, 32 at most, and leaves them
// untouched. A missing queue has none.
func (q *Queue) Peek(ctx context.Context, limit int) ([]Message, error) {
	resp, err := q.client.PeekMessages(ctx, &azqueue.PeekMessagesOptions{NumberOfMessages: to.Ptr(int32(min(limit, maxPeek)))})
	if err = wrap(err, "look into queue "+q.name); errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	messages := make([]Message, 0, len(resp.Messages))
	for _, m := range resp.Messages {
		messages = append(messages, message(m.MessageID, m.MessageText, m.InsertionTime, m.DequeueCount))
	}
	return messages, nil
}

// held is how long Take keeps a message from others.
const held = 2 * time.Minute

// Take hands visible messages to do, one after the other, and removes each for which do
// returns true. It ends after limit removed messages (0: no limit), or when it has seen
// every message. Those that stay are visible again at once. An error of do ends it too.
// It returns how many it removed.
func (q *Queue) Take(ctx context.Context, limit int, do func(context.Context, Message) (bool, error)) (removed int, err error) {
	op := "take messages from queue " + q.name
	var left []*azqueue.DequeuedMessage
	defer func() {
		for _, m := range left {
			// One that cannot be shown again now is so when held is over.
			_, _ = q.client.UpdateMessage(context.WithoutCancel(ctx), value(m.MessageID), value(m.PopReceipt), value(m.MessageText),
				&azqueue.UpdateMessageOptions{VisibilityTimeout: to.Ptr[int32](0)})
		}
	}()
	for {
		resp, err := q.client.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{
			NumberOfMessages: to.Ptr(int32(maxPeek)), VisibilityTimeout: to.Ptr(int32(held / time.Second)),
		})
		if err = wrap(err, op); errors.Is(err, ErrNotFound) {
			return removed, nil
		}
		if err != nil || len(resp.Messages) == 0 {
			return removed, err
		}
		for i, m := range resp.Messages {
			gone, err := do(ctx, message(m.MessageID, m.MessageText, m.InsertionTime, m.DequeueCount))
			if gone && err == nil {
				_, err = q.client.DeleteMessage(ctx, value(m.MessageID), value(m.PopReceipt), nil)
				err = wrap(err, op)
			}
			if !gone || err != nil {
				left = append(left, m)
			} else {
				removed++
			}
			if err != nil || limit > 0 && removed == limit {
				left = append(left, resp.Messages[i+1:]...)
				return removed, err
			}
		}
	}
}

// Length returns about how many messages the queue holds, hidden ones
// included. A missing queue has none.
func (q *Queue) Length(ctx context.Context) (int, error) {
	resp, err := q.client.GetProperties(ctx, nil)
	if err = wrap(err, "count the messages of queue "+q.name); errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return int(value(resp.ApproximateMessagesCount)), err
}

// DecodeMessage returns what a message's text holds. This program and the Functions host
// write base64; a person may have put plain text.
func DecodeMessage(text string) []byte {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || strings.ContainsAny(trimmed[:1], `{["`) {
		return []byte(text)
	}
	if body, err := base64.StdEncoding.DecodeString(trimmed); err == nil && utf8.Valid(body) {
		return body
	}
	return []byte(text)
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
