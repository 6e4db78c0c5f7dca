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
//	Claims     text: ids of other tenants whose devices match this one too; for the
//	           organization, of all whose sections are kept
//	Singled    text: a JSON object of [Singled]; absent when nothing was refused
//	Value_*    binary: values beside their digests, see [Keep]
//	Compliance*, Settings*, below: the notes of the fields that two writers share
//
// Partition "swept", a row per tenant whose key is the tenant's id:
//
//	ComplianceRead  time: when the list was read that its last sweep compared
//
// Partition "<instance>|<organization id>|<tenant id>", with a row for each document. Its
// key, "user-<user id>" or "license-<SKU id>", says what the document is about. Only
// NinjaOne's answer tells its own id:
//
//	DocumentId  int64: NinjaOne's id; 0 when there is none
//	Archived    bool
//	Fields      text: a JSON object, field name to digest or mark
//	Refused     text: digest of what NinjaOne refused, see [Document]
//	Reason      text: why
//	Name        text: of a licence's product; absent when it is not known
//	Tried       int64: when, in seconds since 1970
//	Ended       int64: when it was archived because its user or licence ended, in
//	            seconds since 1970; absent otherwise
//	Attempt     text: a JSON object of [Attempt]; absent when nothing was refused
//	Relations0… text: "d<device id>=<relation>" or "l<document id>=<relation>", with
//	            commas between; for <relation> see number
//
// and in it a row "documents" of the [Progress]:
//
//	UserTemplate, LicenseTemplate  int64
//	UserListed, LicenseListed      time
//	UserUnowned, LicenseUnowned    bool: absent when false
//	Related                        time
//	Confirmed                      time: when an archiving that a person confirmed was done last
//
// Partition "documents-makers", a row per instance:
//
//	Ids  text: NinjaOne users' ids, with commas between
//
// Partition "documents-brake", a row per tenant whose key is the tenant's id, while
// a [Brake] is on:
//
//	OrganizationId  int64
//	Archive, Of     int32
//	Since           time
//	Confirmed       bool
const (
	progressRow    = "documents"
	makerPartition = "documents-makers"
	brakePartition = "documents-brake"

	// maxRelationColumn is the length of a column of relations in characters,
	// below Azure's limit of 32 Ki.
	maxRelationColumn = 30_000
	// documentRows is how many documents become rows at a time: a multiple of the
	// hundred that one transaction takes.
	documentRows = 1000
)

var columnPrefix = map[Kind]string{KindUser: "User", KindLicense: "License"}

const (
	columnClaims   = "Claims"
	columnSingled  = "Singled"
	sweptPartition = "swept"
	columnSwept    = "ComplianceRead"
	noFields       = "{}" // column Fields of a record without any
)

// The sync and package compliance write DeviceCompliance and DeviceNonCompliantSettings
// at the same time. So the notes of each have columns of their own, which change only
// under a claim. They begin with Compliance and Settings.
const (
	columnField  = "Field"  // NinjaOne custom field name
	columnDigest = "Digest" // digest or mark
	columnRead   = "Read"   // when Intune was read
	columnClaim  = "Claim"  // who is sending at present; "" for nobody
	columnSince  = "Since"  // since when
)
