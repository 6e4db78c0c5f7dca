package storage

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

func TestLease(t *testing.T) {
	ctx := t.Context()
	c := newContainer(t)
	first, err := c.Lease(ctx, "lease/eu/17", 15*time.Second)
	must(t, err)
	_, err = c.Lease(ctx, "lease/eu/17", 15*time.Second)
	wantErr(t, err, ErrLeaseTaken)
	other, err := c.Lease(ctx, "lease/eu/18", 60*time.Second)
	must(t, err)
	other.Release()
	if err := first.Context().Err(); err != nil {
		t.Errorf("the lease's context has ended: %v", err)
	}
	first.Release()
	first.Release()
	if err := first.Context().Err(); err == nil {
		t.Error("the context of a released lease has not ended")
	}
	again, err := c.Lease(ctx, "lease/eu/17", 15*time.Second)
	must(t, err)
	again.Release()

	for _, d := range []time.Duration{0, 14 * time.Second, 61 * time.Second} {
		if _, err := c.Lease(ctx, "x", d); err == nil {
			t.Errorf("a lease of %s was given", d)
		}
	}
}

// TestLeaseTakenAway checks that the service's answers to a renewal of a lease
// that is no longer ours are known as such.
func TestLeaseTakenAway(t *testing.T) {
	ctx := t.Context()
	c := newContainer(t)
	for name, take := range map[string]func(*lease.BlobClient) error{
		"broken": func(l *lease.BlobClient) error {
			_, err := l.BreakLease(ctx, &lease.BlobBreakOptions{BreakPeriod: to.Ptr[int32](0)})
			return err
		},
		"released": func(l *lease.BlobClient) error {
			_, err := l.ReleaseLease(ctx, nil)
			return err
		},
		"blob deleted": func(l *lease.BlobClient) error {
			if _, err := l.ReleaseLease(ctx, nil); err != nil {
				return err
			}
			return c.Delete(ctx, "blob deleted")
		},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, c.createEmpty(ctx, name))
			must(t, c.createEmpty(ctx, name))
			client, err := lease.NewBlobClient(c.client.NewBlobClient(name), nil)
			must(t, err)
			_, err = client.AcquireLease(ctx, 15, nil)
			must(t, err)
			must(t, c.createEmpty(ctx, name))
			_, err = client.RenewLease(ctx, nil)
			must(t, lost(err, "renew"))
			must(t, take(client))
			_, err = client.RenewLease(ctx, nil)
			wantErr(t, lost(err, "renew"), ErrLeaseLost)
		})
	}
}

func TestRenewal(t *testing.T) {
	unreachable := errors.New("no answer")
	tests := []struct {
		name  string
		renew func(n int64) error // answers the n-th renewal, from 1
		after time.Duration       // how long the holder works
		lost  bool
	}{
		{"renewed for ten minutes", func(int64) error { return nil }, 10 * time.Minute, false},
		{"taken away", func(n int64) error {
			if n == 3 {
				return ErrLeaseLost
			}
			return nil
		}, 10 * time.Minute, true},
		{"unreachable for good", func(int64) error { return unreachable }, 10 * time.Minute, true},
		{"unreachable, but not long enough to matter", func(int64) error { return unreachable }, 40 * time.Second, false},
		{"unreachable for a while", func(n int64) error {
			if n%10 != 0 {
				return unreachable
			}
			return nil
		}, 10 * time.Minute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var renewals, releases atomic.Int64
				l := hold(t.Context(), time.Now(), time.Minute,
					func(context.Context) error { return tt.renew(renewals.Add(1)) },
					func(context.Context) error { releases.Add(1); return nil })
				work, cancel := context.WithTimeout(l.Context(), tt.after)
				defer cancel()
				<-work.Done()
				if got := errors.Is(context.Cause(l.Context()), ErrLeaseLost); got != tt.lost {
					t.Errorf("lost: %v, want %v", got, tt.lost)
				}
				l.Release()
				l.Release()
				if want := map[bool]int64{true: 0, false: 1}[tt.lost]; releases.Load() != want {
					t.Errorf("released %d times, want %d", releases.Load(), want)
				}
			})
		})
	}
}

// TestLeaseIsLostBeforeItEnds lets a renewal hang: the holder must be told
// before another can take the lease.
func TestLeaseIsLostBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		l := hold(t.Context(), start, time.Minute, hang, func(context.Context) error { return nil })
		<-l.Context().Done()
		if held := time.Since(start); held >= time.Minute || held < 30*time.Second {
			t.Errorf("told after %s", held)
		}
		l.Release()
	})
}

// TestLeaseOutlivesItsContext keeps the lease while the holder ends its work.
func TestLeaseOutlivesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var renewals atomic.Int64
		renewed := make(chan struct{}, 100)
		l := hold(ctx, time.Now(), time.Minute,
			func(context.Context) error { renewals.Add(1); renewed <- struct{}{}; return nil },
			func(context.Context) error { return nil })
		cancel()
		<-l.Context().Done()
		<-renewed
		l.Release()
		if renewals.Load() != 1 {
			t.Errorf("renewed %d times", renewals.Load())
		}
	})
}
