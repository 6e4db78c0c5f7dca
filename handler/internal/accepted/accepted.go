// Package accepted says how our state notes what NinjaOne last accepted: the
// digest of each value by field name, or a mark in its place, in rows that are
// keyed by the NinjaOne target, and beside it the value, which only people look
// at. Packages tenantsync (fields) and documents share it, so that there is one
// convention.
//
// It decides nothing about content and calls nothing.
package accepted

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// Marks that stand where a digest would.
const (
	Cleared = "-" // we cleared the field, and NinjaOne accepted that
	Sending = "?" // a value was on its way; whether NinjaOne took it is unknown
)

// DigestSize is the length of a digest in bytes, of which each is written as two
// hexadecimal digits.
const DigestSize = 12

// Digest stands for a value: it depends only on what NinjaOne is sent.
func Digest(v ninjaone.Value) string {
	if v.IsClear() {
		return Cleared
	}
	body, err := v.MarshalJSON()
	if err != nil {
		return Sending // cannot be noted, so it is sent again
	}
	return Sum(body)
}

// Sum is the digest of bytes.
func Sum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:DigestSize])
}

// Holds reports whether a field that is noted so may hold a value of ours.
func Holds(noted string) bool { return noted != "" && noted != Cleared }

// Changes returns the values of want that a target which holds have does not
// hold yet. A field is cleared only where we wrote.
func Changes(have map[string]string, want ninjaone.Fields) ninjaone.Fields {
	send := ninjaone.Fields{}
	for field, v := range want {
		if v.IsClear() {
			if Holds(have[field]) {
				send[field] = v
			}
		} else if have[field] != Digest(v) {
			send[field] = v
		}
	}
	return send
}

// Partition is the partition of the rows about an organization of a NinjaOne
// instance.
func Partition(instance string, organizationID int) string {
	return fmt.Sprintf("%s|%d", instance, organizationID)
}

// OutOfTime reports whether the run that works under ctx has no time left: ctx
// has ended, or err says that it ends before the call's turn. Whoever judges an
// error in a run asks here, since a call may fail of it before ctx has ended.
func OutOfTime(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ninjaone.ErrOutOfTime)
}

// Tolerable reports whether a failed call leaves the rest of a run worth
// trying.
func Tolerable(ctx context.Context, err error) bool {
	for _, all := range []error{ninjaone.ErrUnauthorized, ninjaone.ErrWrongInstance, ninjaone.ErrThrottled} {
		if errors.Is(err, all) {
			return false
		}
	}
	return !OutOfTime(ctx, err)
}

// Each calls f with the items, with at most so many at once. An error of f ends
// it: f is called no more, but what is under way is let end, since nobody knows
// what a call has written that is cut short. Each returns that error, and the
// items that f was not called with.
func Each[T any](ctx context.Context, items []T, atOnce int, f func(T) error) (left []T, err error) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	var mu sync.Mutex
	ended := false
	for _, item := range items {
		group.Go(func() error {
			mu.Lock()
			stop := ended || ctx.Err() != nil
			if stop {
				left = append(left, item)
			}
			mu.Unlock()
			if stop {
				return ctx.Err()
			}
			err := f(item)
			if err != nil {
				mu.Lock()
				ended = true
				mu.Unlock()
			}
			return err
		})
	}
	return left, group.Wait()
}
