package ledger

// The rows of this package in the table NinjaOneSyncState. Each has the column
// Version (int32) of package layout.
//
// Partition "<instance>|<organization id>", see [Organization.Partition], with a row
// for the organization ("organization") and one for each device ("device-<id>"):
//
//	TenantId   text: the tenant whose sync wrote a device
//	Fields     text: a JSON object, NinjaOne custom field name to digest or mark
//	Written    time: when NinjaOne last accepted a value; absent when unknown
//	Claims     text: ids of other tenants whose devices match this one too
//	Singled    text: a JSON object of [Singled]; absent when nothing was refused
//	Value_*    binary: values beside their digests, see [Keep]
//	Compliance*, below: the note of the compliance field
//
// Partition "swept", a row per tenant whose key is the tenant's id:
//
//	ComplianceRead  time: when the list was read that its last sweep compared
const (
	columnClaims   = "Claims"
	columnSingled  = "Singled"
	sweptPartition = "swept"
	noFields       = "{}" // column Fields of a record without any
)

// The compliance field is written by the sync and by package compliance at the
// same time, so what is noted of it has columns of its own, which change only
// under a claim.
const (
	columnField  = "ComplianceField"  // NinjaOne custom field name
	columnDigest = "ComplianceDigest" // digest or mark
	columnRead   = "ComplianceRead"   // when the state was read in Intune
	columnClaim  = "ComplianceClaim"  // who is sending at present; "" for nobody
	columnSince  = "ComplianceSince"  // since when
)
