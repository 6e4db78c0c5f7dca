package problems

// partition of the table NinjaOneSyncState has a row per owner, keyed by the owner's
// name: what is not one tenant's run. Columns: Version (int32) of package layout, and
// columnProblems, a JSON list of Problem (text).
const (
	partition      = "problems"
	columnProblems = "Problems"
)
