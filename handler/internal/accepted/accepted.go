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

	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// Version is written into every row, so that a handler knows which layout it
// reads. What a change of it takes is said in package layout.
const Version = layout.Version

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

// Tolerable reports whether a failed write leaves the rest of a run worth
// trying.
func Tolerable(ctx context.Context, err error) bool {
	for _, all := range []error{ninjaone.ErrUnauthorized, ninjaone.ErrWrongInstance, ninjaone.ErrThrottled} {
		if errors.Is(err, all) {
			return false
		}
	}
	return ctx.Err() == nil
}
