package engine

// The rows of this package in the table NinjaOneSyncState, each with the column Version
// (int32) of package layout.
const (
	// partition has one row, [row]: what is kept of CIPP's engine. Columns: GivenBack,
	// Held, Hashes (bool); SyncTime (int32); LastRun, Owe (time, absent when there is
	// none); Reason (text).
	partition = "engine"
	row       = "hold"
	// repairPartition has a row for each tenant that was ever repaired, by the tenant's
	// id: which run of CIPP was answered. Columns: Owe, Start (time).
	repairPartition = "engine-repair"
)
