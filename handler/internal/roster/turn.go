package roster

import (
	"hash/fnv"
	"time"
)

// Share spreads tenants evenly over [0, 1), each always at the same place.
func Share(tenantID, purpose string) float64 {
	return float64(hash(purpose+tenantID)>>11) / (1 << 53)
}

// Phase is where in the period a tenant is synced. It is not that of any Share: the turns
// of tenants must not move.
func Phase(tenantID string, period time.Duration) time.Duration {
	return time.Duration(hash(tenantID) % uint64(period))
}

// LastTurn is when a turn was last that comes once a period, at a phase of it.
func LastTurn(phase, period time.Duration, now time.Time) time.Time {
	return now.Add(-time.Duration(now.UnixNano()-int64(phase)) % period)
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // it never fails
	return h.Sum64()
}
