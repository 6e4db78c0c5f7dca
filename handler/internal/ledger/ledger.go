// Package ledger is the memory of what NinjaOne holds of ours, by target. For each field
// it holds the digest of the value that NinjaOne accepted (Known). Or it says that we
// sent a value and lost the answer (Unknown), or cleared it (Cleared). Beside it stands
// the value itself, which only people look at.
//
// It decides nothing about content and calls nothing but our own table.
package ledger

import (
	"crypto/sha256"
	"encoding/hex"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// Marks that stand where a digest would.
const (
	Cleared = "-" // we cleared the field, and NinjaOne accepted that
	Unknown = "?" // a value was on its way; whether NinjaOne took it is unknown
)

// DigestSize is the length of a digest in bytes. Each byte is two hexadecimal digits.
const DigestSize = 12

// Digest stands for a value: it depends only on what NinjaOne is sent.
func Digest(v ninjaone.Value) string {
	if v.IsClear() {
		return Cleared
	}
	body, err := v.MarshalJSON()
	if err != nil {
		return Unknown // cannot be noted, so it is sent again
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
