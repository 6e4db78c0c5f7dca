package policies

// The rows of this package in the table NinjaOneSyncState. Partition
// "policies|<tenant id>" has a row for each managed device, keyed by its id, that
// did not comply when its policies were last read:
//
//	Version   int32, of package layout
//	CheckIn   time: ManagedDevice.LastSync in the list that led to the reading
//	State     text: ManagedDevice.ComplianceState in that list
//	Read      time: when the reading began
//	Policies  binary: a JSON array of tenant.PolicyState, deflated
const (
	partitionPrefix = "policies|"
	columnCheckIn   = "CheckIn"
	columnState     = "State"
	columnRead      = "Read"
	columnPolicies  = "Policies"

	// maxColumn is the table service's limit of binary content, in bytes.
	maxColumn = 64 << 10
	// maxPolicies keeps a damaged column from taking memory without end, in bytes.
	maxPolicies = 4 << 20
	// maxDevices is of how many devices of a tenant readings are given at most.
	maxDevices = 10_000
)
