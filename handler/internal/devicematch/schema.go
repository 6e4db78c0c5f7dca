package devicematch

import (
	"time"

	"cipp-ninjaone/handler/internal/ledger"
)

// Blobs of this package in the container ninjaone-sync:
//
//	matches/<tenant id>.json     a JSON object of [Matches]: the tenant's last sync
//	compliance/<tenant id>.json  a JSON object of [rematch]: a matching since that sync
//
// They stay two. A sync writes the first under the organization's lease. It does not when
// the run noted the same digest. Compliance updates write the second without a lease, and
// it counts only while its base is the first. Both bring the rows of package cipp in
// CIPP's table NinjaOneDeviceMap up to date.

// BlobPrefix begins the names of the blobs of matches, and BlobName is a tenant's.
const BlobPrefix = "matches/"

// BlobName names the blob of a tenant's matches.
func BlobName(tenantID string) string { return BlobPrefix + tenantID + ".json" }

func rematchBlob(tenantID string) string { return "compliance/" + tenantID + ".json" }

// rematch is the outcome of matching a tenant anew.
type rematch struct {
	Base           string          `json:"base"` // digest of the sync's matches that it replaces
	Instance       string          `json:"instance"`
	OrganizationID int             `json:"organizationId"`
	At             time.Time       `json:"at"`
	Pairs          map[string]int  `json:"pairs"`  // managed device id to NinjaOne device id, which several have that contest it
	Absent         map[string]bool `json:"absent"` // managed devices without NinjaOne device of their own
}

// organization is the one whose devices were matched.
func (r rematch) organization() ledger.Organization {
	return ledger.Organization{Instance: r.Instance, ID: r.OrganizationID}
}
