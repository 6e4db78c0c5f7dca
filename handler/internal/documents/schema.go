package documents

// Blobs of this package in the container ninjaone-sync:
//
//	surplus/<instance>/<organization id>/<tenant id>.json  a JSON object of [surplus]
//	lease/<instance>/document-templates                    empty: the lease of who sets up templates
//
// What is known of documents that people see is in rows of package ledger.
const surplusPrefix = "surplus/"
