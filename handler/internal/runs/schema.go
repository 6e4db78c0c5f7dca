package runs

// The rows of this package in the table NinjaOneSyncState. Each has the column
// Version (int32) of package layout.
const (
	// runPartition has a row per tenant, whose key is the tenant's id: its last
	// run. Columns: OrganizationId, Failures, OrganizationFields, Devices,
	// Documents, Unchanged, Matched, IntuneOnly, NinjaOnly (int32); Status,
	// Reason, Owed, Cuts, MatchesDigest, SectionDigest, InventoryDigest, and Problems,
	// a JSON list (text); Queued, Start, Begun, End, LastSuccess (time, absent when there is none).
	runPartition = "run"
	// lightPartition has a row per tenant, whose key is the tenant's id: its last
	// light run. Columns: Failures, OrganizationFields, Devices, Documents (int32);
	// Status, Reason (text); Start, End, Fresh, Missed, MissedDevices (time, absent
	// when there is none).
	lightPartition = "light"
	// pausePartition has a row for each tenant that somebody paused or resumed, by the
	// tenant's id. One row is for all others, Everyone. Column: Paused (bool).
	pausePartition = "pause"
)
