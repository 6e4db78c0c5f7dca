package layout

// The one row of this package in the table NinjaOneSyncState: the newest layout that
// the state has. Column: Version (int32).
const (
	partition = "layout"
	row       = "version"
)
