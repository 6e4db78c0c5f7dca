package funchost

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/queueerror"
)

const (
	poisonSuffix  = "-poison"
	settleTimeout = 30 * time.Second
)

// errNotText is the failure of a message that the host cannot put into an
// envelope. The handler is not called for it.
var errNotText = errors.New("the queue message is not UTF-8, so the host fails without a call")

// pump receives the messages of one queue trigger.
type pump struct {
	host   *Host
	f      *function
	queue  *azqueue.QueueClient
	poison *azqueue.QueueClient // Nil when the queue can have none.
	wake   chan struct{}        // Ends the pause between two looks.
}

func newPump(h *Host, f *function) (*pump, error) {
	p := &pump{host: h, f: f, wake: make(chan struct{}, 1)}
	var err error
	storage, name := h.settings[storageSetting], f.trigger.QueueName
	if p.queue, err = newQueue(storage, name); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(name, poisonSuffix) && len(name+poisonSuffix) <= 63 {
		p.poison, err = newQueue(storage, name+poisonSuffix)
	}
	return p, err
}

// run receives batches until ctx is done and then waits for the messages under
// way. A batch is asked for when no more than newBatchThreshold messages run.
func (p *pump) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{}, p.host.options.batchSize+p.host.options.newBatchThreshold)
	running, misses := 0, 0
	for ctx.Err() == nil {
		var idle <-chan time.Time
		if running <= p.host.options.newBatchThreshold {
			messages := p.receive()
			for _, m := range messages {
				running++
				wg.Go(func() {
					p.process(m)
					done <- struct{}{}
				})
			}
			if len(messages) > 0 {
				misses = 0
				continue
			}
			misses++
			idle = time.After(backoff(misses, p.host.options.maxPollingInterval))
		}
		for waiting := true; waiting; {
			select {
			case <-done:
				running--
				// While idle, the pause still runs to its end.
				waiting = idle != nil || running > p.host.options.newBatchThreshold
			case <-idle:
				waiting = false
			case <-p.wake:
				waiting, misses = idle == nil, 0
			case <-ctx.Done():
				return
			}
		}
	}
}

// backoff is the pause after a number of empty polls in a row. It is random and grows
// from 100 ms to the limit.
func backoff(misses int, limit time.Duration) time.Duration {
	growth := minPollingInterval << min(misses-1, 20)
	spread := 0.8 + 0.4*rand.Float64()
	return max(minPollingInterval, min(limit, time.Duration(float64(growth)*spread)))
}

// receive asks for one batch. It is not broken off by a stop, because messages
// already handed out would then stay invisible.
func (p *pump) receive() []*azqueue.DequeuedMessage {
	ctx, cancel := context.WithTimeout(p.host.work, settleTimeout)
	defer cancel()
	number := int32(p.host.options.batchSize)
	invisible := int32(p.host.config.MessageInvisibility / time.Second)
	res, err := p.queue.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: &number, VisibilityTimeout: &invisible})
	if err != nil {
		if !queueerror.HasCode(err, queueerror.QueueNotFound) && p.host.work.Err() == nil {
			p.host.log.Error("receiving queue messages failed; it is tried again", "function", p.f.name, "queue", p.f.trigger.QueueName, "error", err)
		}
		return nil
	}
	return res.Messages
}

// process runs the function for one message and settles the message.
func (p *pump) process(m *azqueue.DequeuedMessage) {
	h := p.host
	if h.work.Err() != nil {
		return
	}
	decoded, err := decodeBase64(*m.MessageText)
	if err != nil {
		h.log.Error("a queue message is not base64, as messageEncoding says, and goes to the poison queue", "function", p.f.name, "id", *m.MessageID)
		p.toPoison(m, *m.PopReceipt)
		return
	}
	text := string(decoded)
	if *m.DequeueCount > h.options.maxDequeueCount {
		p.toPoison(m, *m.PopReceipt)
		return
	}
	i := h.begin(p.f)
	i.Message, i.DequeueCount = text, *m.DequeueCount
	stopRenewal := p.renew(m)
	meta := newMetadata(p.f.name)
	queueMetadata(meta, messageFacts{
		id: *m.MessageID, popReceipt: *m.PopReceipt, dequeueCount: *m.DequeueCount,
		inserted: *m.InsertionTime, expires: *m.ExpirationTime, visible: *m.TimeNextVisible,
	}, text)
	err = errNotText
	if utf8.ValidString(text) {
		err = h.execute(h.work, p.f, i.ID, map[string]value{p.f.trigger.Name: text}, meta)
	}
	receipt := stopRenewal()
	if h.crashed() {
		return
	}
	p.settle(m, receipt, err == nil)
	h.finish(i, err)
}

// renew keeps the message invisible until the returned function is called, which
// gives the message's newest pop receipt.
func (p *pump) renew(m *azqueue.DequeuedMessage) (stop func() string) {
	receipt := *m.PopReceipt
	stopped := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		invisible := int32(p.host.config.MessageInvisibility / time.Second)
		tick := time.NewTicker(p.host.config.MessageInvisibility / 2)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-p.host.work.Done():
				return
			case <-tick.C:
				res, err := p.queue.UpdateMessage(p.host.work, *m.MessageID, receipt, *m.MessageText, &azqueue.UpdateMessageOptions{VisibilityTimeout: &invisible})
				if err != nil {
					p.host.log.Warn("renewing a queue message's invisibility failed", "function", p.f.name, "id", *m.MessageID, "error", err)
					continue
				}
				receipt = *res.PopReceipt
			}
		}
	})
	return func() string {
		close(stopped)
		wg.Wait()
		return receipt
	}
}

// settle deletes a message after success, and puts it back after a failure. A message
// that was received too often goes to the poison queue.
func (p *pump) settle(m *azqueue.DequeuedMessage, receipt string, ok bool) {
	ctx, cancel := p.host.settleContext()
	defer cancel()
	var err error
	switch {
	case ok:
		_, err = p.queue.DeleteMessage(ctx, *m.MessageID, receipt, nil)
	case *m.DequeueCount >= p.host.options.maxDequeueCount:
		p.toPoison(m, receipt)
	default:
		visible := int32(p.host.options.visibilityTimeout / time.Second)
		_, err = p.queue.UpdateMessage(ctx, *m.MessageID, receipt, *m.MessageText, &azqueue.UpdateMessageOptions{VisibilityTimeout: &visible})
	}
	if err != nil {
		p.host.log.Warn("settling a queue message failed; it will be delivered again", "function", p.f.name, "id", *m.MessageID, "error", err)
	}
}

// toPoison copies the message's stored text to the poison queue and deletes the
// message.
func (p *pump) toPoison(m *azqueue.DequeuedMessage, receipt string) {
	if p.poison == nil {
		return // There is none for this queue; the message stays invisible for now.
	}
	ctx, cancel := p.host.settleContext()
	defer cancel()
	err := enqueue(ctx, p.poison, *m.MessageText)
	if err == nil {
		_, err = p.queue.DeleteMessage(ctx, *m.MessageID, receipt, nil)
	}
	if err != nil {
		p.host.log.Error("moving a queue message to the poison queue failed", "function", p.f.name, "id", *m.MessageID, "error", err)
		return
	}
	p.host.log.Warn("a queue message was moved to the poison queue", "function", p.f.name, "id", *m.MessageID, "queue", p.f.trigger.QueueName+poisonSuffix)
}
