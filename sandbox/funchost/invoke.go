package funchost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/queueerror"
	"github.com/google/uuid"
)

// hostVersion is the version of the Functions host whose behaviour this is.
const hostVersion = "4.1037.0.0"

// What the host tells of itself in each call.
const (
	productToken       = "Azure-Functions-Host/" + hostVersion
	headerHostVersion  = "X-Azure-Functions-HostVersion"
	headerInvocationID = "X-Azure-Functions-InvocationId"
)

// Invocation is one finished call of a function.
type Invocation struct {
	// ID is the GUID that the handler got in X-Azure-Functions-InvocationId.
	ID string
	// Function is the function's name.
	Function string
	// Start is when it began, and Duration how long it took.
	Start    time.Time
	Duration time.Duration
	// For a queue trigger, Message is the message's text, and DequeueCount how often the
	// host has received it.
	Message      string
	DequeueCount int64
	// Err is why it failed, or nil. A queue message is settled (deleted, put
	// back or moved to the poison queue) before the invocation is reported.
	Err error
}

// begin starts the record of an invocation.
func (h *Host) begin(f *function) *Invocation {
	return &Invocation{ID: uuid.NewString(), Function: f.name, Start: time.Now()}
}

// finish reports an invocation.
func (h *Host) finish(i *Invocation, err error) {
	i.Duration, i.Err = time.Since(i.Start), err
	level, outcome := slog.LevelInfo, "succeeded"
	if err != nil {
		level, outcome = slog.LevelError, "failed"
	}
	h.log.Log(context.Background(), level, "invocation "+outcome,
		"function", i.Function, "id", i.ID, "duration", i.Duration, "error", err)
	if h.config.OnInvocation != nil {
		h.config.OnInvocation(*i)
	}
}

// errTimeout is the failure of an invocation that ran into functionTimeout.
var errTimeout = errors.New("the invocation ran into functionTimeout; the handler process is ended, with everything in flight, and started again")

// guard runs one call to the handler under functionTimeout. A call that does not
// end in time costs the whole handler process.
func (h *Host) guard(ctx context.Context, call func(context.Context, *process) error) error {
	if d := h.options.functionTimeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, errTimeout)
		defer cancel()
	}
	p, err := h.worker.ready(ctx)
	if err == nil {
		err = call(ctx, p)
	}
	if err != nil && context.Cause(ctx) == errTimeout {
		if p != nil {
			h.worker.restart(p)
		}
		return errTimeout
	}
	return err
}

// execute sends one envelope and checks the answer.
func (h *Host) execute(ctx context.Context, f *function, id string, data map[string]value, meta metadata) error {
	body, err := h.encoder.envelope(data, meta)
	if err != nil {
		return err
	}
	var a answer
	err = h.guard(ctx, func(ctx context.Context, p *process) error {
		a, err = h.post(ctx, p, f, id, body)
		if errors.Is(err, errNoAnswer) {
			h.log.Error("an invocation hangs", "function", f.name, "id", id, "error", err)
			<-ctx.Done()
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, line := range a.Logs {
		h.emit(slog.LevelInfo, line)
	}
	return nil
}

func (h *Host) post(ctx context.Context, p *process, f *function, id string, body []byte) (answer, error) {
	// A reader of unknown length makes the request chunked, as the host's is.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.address()+"/"+f.name, io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		return answer{}, err
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", productToken)
	req.Header.Set(headerHostVersion, hostVersion)
	req.Header.Set(headerInvocationID, id)
	res, err := p.transport.RoundTrip(req) // The host follows no redirects while it forwards.
	if err != nil {
		return answer{}, fmt.Errorf("calling the handler: %w", err)
	}
	defer res.Body.Close()
	reply, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, fmt.Errorf("reading the handler's answer: %w", err)
	}
	return parseAnswer(res, reply)
}

// storageClientOptions retries little: Azurite and the poll loops need no more.
func storageClientOptions() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: 2, RetryDelay: 100 * time.Millisecond, TryTimeout: 30 * time.Second}}
}

func newQueue(connectionString, name string) (*azqueue.QueueClient, error) {
	queue, err := azqueue.NewQueueClientFromConnectionString(connectionString, name, &azqueue.ClientOptions{ClientOptions: storageClientOptions()})
	if err != nil {
		return nil, fmt.Errorf("opening the queue %s: %w", name, err)
	}
	return queue, nil
}

// enqueue adds a message and creates the queue when it is missing.
func enqueue(ctx context.Context, queue *azqueue.QueueClient, text string) error {
	_, err := queue.EnqueueMessage(ctx, text, nil)
	if queueerror.HasCode(err, queueerror.QueueNotFound) {
		if _, err = queue.Create(ctx, nil); err == nil {
			_, err = queue.EnqueueMessage(ctx, text, nil)
		}
	}
	return err
}

// invokeNow runs a timer or queue function on demand, as the admin endpoint does.
func (h *Host) invokeNow(ctx context.Context, f *function, input string) error {
	i := h.begin(f)
	meta := newMetadata(f.name)
	data := map[string]value{}
	switch f.trigger.Type {
	case queueTrigger:
		i.Message = input
		now := time.Now()
		queueMetadata(meta, messageFacts{id: uuid.NewString(), inserted: now, expires: now.Add(7 * 24 * time.Hour), visible: now}, input)
		data[f.trigger.Name] = input
	case timerTrigger:
		info, err := h.timers[f.name].manualInfo(ctx)
		if err != nil {
			h.finish(i, err)
			return err
		}
		data[f.trigger.Name] = info
		meta.set(f.trigger.Name, input)
	}
	err := h.execute(ctx, f, i.ID, data, meta)
	h.finish(i, err)
	return err
}

// messageFacts is what the host tells about a queue message besides its text.
type messageFacts struct {
	id, popReceipt             string
	dequeueCount               int64
	inserted, expires, visible time.Time
}

func queueMetadata(meta metadata, facts messageFacts, text string) {
	meta.set("DequeueCount", facts.dequeueCount)
	meta.set("ExpirationTime", facts.expires)
	meta.set("Id", facts.id)
	meta.set("InsertionTime", facts.inserted)
	meta.set("NextVisibleTime", facts.visible)
	meta.set("PopReceipt", facts.popReceipt)
	meta.merge(text)
}
