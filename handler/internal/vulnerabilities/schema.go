package vulnerabilities

import (
	"encoding/json"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// TableName is our own table of the tenants' CVE files.
const TableName = "NinjaOneVulnerabilities"

// The rows of table NinjaOneVulnerabilities, partition "files": one for each
// tenant, whose key is the tenant's id. Times that are not known are 1970-01-01.
//
// Written when a turn is put on the queue:
//
//	Queued        time: when that was
//
// Written by a person's button on the console:
//
//	Confirmed     time: what waits since then, or since before, was confirmed
//
// Written by the schedule:
//
//	Unmapped      time: since when the tenant is known not to be mapped
//
// Written by messages, and cut down after a day without mapping:
//
//	Status        text: a JSON object of [Status], less the three above
//
// Each row has the column Version (int32) of package layout.
//
// Blobs of this package in the container ninjaone-sync, for the last file that NinjaOne
// took. A turn that broke off may leave others, which the row does not name. They go when
// the next import has ended:
//
//	vulnerabilities/<tenant id>/<digest>.csv.gz   the file
//	vulnerabilities/<tenant id>/<digest>.json.gz  a JSON object of [exposure.Tenant]
//	lease/vulnerabilities/<tenant id>             empty: who works on the tenant's file
const (
	partition       = "files"
	columnQueued    = "Queued"
	columnConfirmed = "Confirmed"
	columnUnmapped  = "Unmapped"
	columnStatus    = "Status"

	blobPrefix = "vulnerabilities/"
)

// fileBlob and exposureBlob name the blobs of a tenant's file.
func fileBlob(tenantID, digest string) string {
	return blobPrefix + tenantID + "/" + digest + ".csv.gz"
}

func exposureBlob(tenantID, digest string) string {
	return blobPrefix + tenantID + "/" + digest + ".json.gz"
}

// leaseBlob names the blob whose lease a message holds while it is worked on.
func leaseBlob(tenantID string) string { return "lease/vulnerabilities/" + tenantID }

// never stands in a row for an absent time, since a merge cannot remove a column.
var never = time.Unix(0, 0).UTC()

// statusOf reads a row. A status that cannot be read is an empty one: NinjaOne's word on
// the last file judges the next.
func statusOf(row storage.Entity) Status {
	at := func(column string) time.Time {
		if t := row.Time(column); t.After(never) {
			return t
		}
		return time.Time{}
	}
	var s Status
	if json.Unmarshal([]byte(row.String(columnStatus)), &s) != nil {
		s = Status{}
	}
	s.TenantID, s.Queued, s.Confirmed, s.Unmapped = row.RowKey(), at(columnQueued), at(columnConfirmed), at(columnUnmapped)
	return s
}
