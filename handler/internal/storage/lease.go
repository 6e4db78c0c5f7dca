package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

// Lease is exclusive possession of a blob among all processes. It renews itself in the
// background until Release.
// https://learn.microsoft.com/rest/api/storageservices/lease-blob
type Lease struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stop    context.CancelFunc // ends the renewal
	done    chan struct{}      // closed when the renewal has ended
	release func(context.Context) error
	once    sync.Once
}

const (
	minLease       = 15 * time.Second
	maxLease       = 60 * time.Second
	releaseTimeout = 10 * time.Second
	renewPause     = time.Second // between failed renewals
)

// Lease takes the lease of a blob for a duration of 15 to 60 seconds. It creates a
// missing blob, empty. The error is ErrLeaseTaken when another holds the lease. A holder
// that dies loses it after the duration. The caller must call Release.
func (c *Container) Lease(ctx context.Context, name string, duration time.Duration) (*Lease, error) {
	op := c.op("lease", name)
	if duration < minLease || duration > maxLease {
		return nil, fmt.Errorf("%s: the duration %s is not between 15 and 60 seconds", op, duration)
	}
	// The client proposes one lease id. So a request repeated after a lost answer still
	// finds the lease its own.
	client, err := lease.NewBlobClient(c.client.NewBlobClient(name), nil)
	if err != nil {
		return nil, wrap(err, op)
	}
	acquire := func() error {
		_, err := client.AcquireLease(ctx, int32(duration/time.Second), nil)
		return err
	}
	start := time.Now()
	err = acquire()
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound) {
		if err := c.createEmpty(ctx, name); err != nil {
			return nil, err
		}
		start = time.Now()
		err = acquire()
	}
	if err != nil {
		return nil, wrap(err, op)
	}
	renew := func(ctx context.Context) error {
		_, err := client.RenewLease(ctx, nil)
		return lost(err, c.op("renew the lease of", name))
	}
	release := func(ctx context.Context) error {
		_, err := client.ReleaseLease(ctx, nil)
		return err
	}
	return hold(ctx, start, duration, renew, release), nil
}

// createEmpty creates the blob unless another process has just done so.
func (c *Container) createEmpty(ctx context.Context, name string) error {
	err := c.put(ctx, name, nil, &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)})
	if errors.Is(err, ErrExists) || errors.Is(err, ErrConflict) || bloberror.HasCode(err, bloberror.LeaseIDMissing) {
		return nil
	}
	return err
}

// lost marks a failed renewal that no repetition can mend.
func lost(err error, op string) error {
	if bloberror.HasCode(err, bloberror.LeaseIDMismatchWithLeaseOperation, bloberror.LeaseNotPresentWithLeaseOperation,
		bloberror.LeaseIsBrokenAndCannotBeRenewed, bloberror.LeaseLost, bloberror.BlobNotFound, bloberror.ContainerNotFound) {
		return fmt.Errorf("%w: %w", ErrLeaseLost, wrap(err, op))
	}
	return wrap(err, op)
}

// hold renews a lease that a request begun at start acquired.
func hold(ctx context.Context, start time.Time, duration time.Duration, renew, release func(context.Context) error) *Lease {
	l := &Lease{done: make(chan struct{}), release: release}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	// The renewal outlives ctx: until Release the holder may still be ending its work.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go func() {
		defer close(l.done)
		if err := keep(renewing, start, duration, renew); err != nil {
			l.cancel(err)
		}
	}()
	return l
}

// keep renews until ctx ends, then returns nil, or until the lease is lost.
// It counts the lease as lost a little before the service does.
func keep(ctx context.Context, start time.Time, duration time.Duration, renew func(context.Context) error) error {
	ends := start.Add(duration * 5 / 6)
	timer := time.NewTimer(duration / 3)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		begun := time.Now()
		attempt, cancel := context.WithDeadline(ctx, ends)
		err := renew(attempt)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			ends = begun.Add(duration * 5 / 6)
			timer.Reset(duration / 3)
		case errors.Is(err, ErrLeaseLost):
			return err
		case time.Until(ends) <= renewPause:
			return fmt.Errorf("%w: it could not be renewed in time: %w", ErrLeaseLost, err)
		default:
			timer.Reset(renewPause)
		}
	}
}

// Context returns a context that ends when the lease is released, or with the
// context given to Container.Lease. It ends with the cause ErrLeaseLost when the
// lease is lost. Work that needs the lease runs under it.
func (l *Lease) Context() context.Context { return l.ctx }

// Release ends the renewal and frees the lease for others. A lease that it cannot free
// now ends by itself when its duration is over. Calling it again does nothing.
func (l *Lease) Release() {
	l.once.Do(func() {
		l.stop()
		<-l.done
		if !errors.Is(context.Cause(l.ctx), ErrLeaseLost) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), releaseTimeout)
			defer cancel()
			_ = l.release(ctx)
		}
		l.cancel(context.Canceled)
	})
}
