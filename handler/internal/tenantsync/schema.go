package tenantsync

// Blobs of this package in the container ninjaone-sync:
//
//	sections/<instance>/<organization id>/<tenant id>.json  a JSON object of [section]
//	inventory/<tenant id>.json                              a JSON object of [inventory]
//	lease/<instance>/<organization id>                      empty: the lease of the organization
//	sku-names.json                                          a JSON object: names of licences by SKU id
//
// A run writes the first two under the organization's lease.
const (
	sectionPrefix   = "sections/"
	inventoryPrefix = "inventory/"
)

func inventoryName(tenantID string) string { return inventoryPrefix + tenantID + ".json" }

// Rows of this package in the table NinjaOneSyncState, with the column Version (int32) of
// package layout. Partition "unmapped" has one for each blob of a tenant that is not
// mapped. Its key is the blob's name, with "|" for "/". Its column Found (time) says
// since when we know.
const (
	unmappedPartition = "unmapped"
	columnFound       = "Found"
)
