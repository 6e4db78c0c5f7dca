package heartbeat

import (
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// The rows of table NinjaOneSyncState, partition "timers": one for each timer.
// The row key is the timer's function name. The row Heartbeat tells which of the copies
// of a message was first: Last is when.
const (
	partition = "timers"
	// columnLast (time) is when the timer last fired, or when a heartbeat last
	// began its work in its place.
	columnLast = "Last"
	// columnInPlace (bool) says that the last time was a heartbeat's.
	columnInPlace = "InPlace"
)

// entity is the row of a timer.
func entity(timer string, last time.Time, inPlace bool) storage.Entity {
	return storage.Entity{"PartitionKey": partition, "RowKey": timer, columnLast: last.UTC(), columnInPlace: inPlace}
}
