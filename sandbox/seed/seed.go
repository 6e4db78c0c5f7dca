// Package seed holds the data of an invented managed service provider. The simulated
// Microsoft 365 serves its tenants. The simulated NinjaOne serves its organizations,
// devices and custom fields. The rows of CIPP's tables are here too.
//
// Everything here is invented; names, addresses and serial numbers belong to
// nobody, and domains end in ".example". Credentials are random in every
// process. Nothing of the handler may be imported here.
package seed

import (
	"crypto/rand"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// Seed is one provider with all its data.
type Seed struct {
	// Day is the UTC day the data was made for; check-ins and sign-ins lie
	// shortly before or on it.
	Day time.Time

	Tenants       []*m365sim.Tenant
	Organizations []ninjasim.Organization
	NinjaDevices  []ninjasim.Device
	CustomFields  []ninjasim.CustomField
	Mappings      []Mapping
	// FieldMapping gives the NinjaOne custom field of each of CIPP's seven
	// fields (TenantLinks, TenantSummary, UsersSummary, DeviceLinks,
	// DeviceSummary, DeviceCompliance, DeviceNonCompliantSettings).
	FieldMapping map[string]string

	SAM      SAM
	Ninja    NinjaOne
	CIPPHost string // host of CIPP's portal, without scheme

	ExcludedTenants []string // tenant ids that are excluded in CIPP
	ExcludedSKUs    []SKU    // rows of CIPP's ExcludedLicenses
	// ScanGroups are what an administrator set up in NinjaOne, CVEExceptions and
	// CachedCVEs (by default domain) what CIPP keeps.
	ScanGroups    []ninjasim.ScanGroup
	CVEExceptions []CVEException
	CachedCVEs    map[string][]m365sim.Vulnerability
	Quirks        Quirks
}

// SAM holds the credentials of CIPP's application in the partner tenant.
type SAM struct {
	ApplicationID, ApplicationSecret, TenantID, RefreshToken string
}

// NinjaOne holds the API application of the provider's NinjaOne instance.
type NinjaOne struct {
	Instance, ClientID, Secret string // Instance is a host name
}

// Mapping is one tenant mapped to an organization in CIPP.
type Mapping struct {
	TenantID         string
	OrganizationID   int
	OrganizationName string

	// ByDomain keeps the row under the tenant's default domain instead of its
	// id, as an old front end did. Legacy keeps it in the partition that CIPP
	// used before 2024.
	ByDomain, Legacy bool
	// LastStart, LastEnd and LastStatus are from CIPP's own last run; zero
	// when there was none. StartAsDateTime stores LastStart as Edm.DateTime.
	LastStart, LastEnd time.Time
	LastStatus         string
	StartAsDateTime    bool
}

// Quirks choose how CIPP's tables are written.
type Quirks struct {
	// UnmappedField is one of CIPP's seven fields, stored as "do not synchronize". That
	// is a row with an empty custom field name.
	UnmappedField string
	// InstanceAsTyped is stored as the instance instead of the plain host, for
	// example "https://eu.ninjarmm.com/ws".
	InstanceAsTyped string
	// LegacyFieldPartition keeps the field mapping in the partition and columns
	// that CIPP used before.
	LegacyFieldPartition bool
	// LicensedOnly, UserDocuments and LicenseDocuments are the extension's
	// switches.
	LicensedOnly, UserDocuments, LicenseDocuments bool
	// CVESync lets vulnerabilities be synchronized, with [CVEPrefix].
	CVESync bool
}

// Tenant returns the tenant with the default domain, or nil.
func (s *Seed) Tenant(domain string) *m365sim.Tenant {
	for _, t := range s.Tenants {
		if t.DefaultDomain == domain {
			return t
		}
	}
	return nil
}

// Organization returns the id of the organization a tenant is mapped to, or 0.
func (s *Seed) Organization(tenantID string) int {
	for _, m := range s.Mappings {
		if m.TenantID == tenantID {
			return m.OrganizationID
		}
	}
	return 0
}

// Config returns the simulator's configuration with the seed's credentials.
func (s *Seed) Config() m365sim.Config {
	return m365sim.Config{Credentials: m365sim.Credentials{
		ClientID: s.SAM.ApplicationID, ClientSecret: s.SAM.ApplicationSecret,
		PartnerTenantID: s.SAM.TenantID, RefreshToken: s.SAM.RefreshToken,
	}}
}

// Server returns a simulated Microsoft 365 with the seed's tenants and
// credentials.
func (s *Seed) Server() (*m365sim.Server, error) { return m365sim.New(s.Config(), s.Tenants...) }

// newSeed returns a seed with credentials, custom fields and their mapping.
func newSeed(day time.Time) *Seed {
	s := &Seed{
		Day:      day.UTC().Truncate(24 * time.Hour),
		SAM:      SAM{uuid.NewString(), randomSecret(), "5e0f6d1a-3c57-4a7e-9d5b-20c1f7a94e10", randomSecret() + randomSecret()},
		Ninja:    NinjaOne{Instance: "eu.ninjarmm.com", ClientID: randomSecret()[:27], Secret: randomSecret()},
		CIPPHost: "cipp.northwindow-it.example",
		CustomFields: []ninjasim.CustomField{
			customField("cippTenantLinks", "Microsoft 365 links", "WYSIWYG", "ORGANIZATION", "READ_WRITE"),
			customField("cippTenantSummary", "Microsoft 365 summary", "WYSIWYG", "ORGANIZATION", "READ_WRITE"),
			customField("cippUsersSummary", "Microsoft 365 users", "WYSIWYG", "ORGANIZATION", "READ_WRITE"),
			customField("cippDeviceLinks", "Intune links", "WYSIWYG", "NODE", "READ_WRITE"),
			customField("cippDeviceSummary", "Intune summary", "WYSIWYG", "NODE", "READ_WRITE"),
			customField("cippDeviceCompliance", "Intune compliance", "TEXT", "NODE", "READ_WRITE"),
			customField("cippDeviceNonCompliantSettings", "Intune settings that fail", "TEXT_MULTILINE", "NODE", "READ_WRITE"),
			customField("accountManager", "Account manager", "TEXT", "ORGANIZATION", "READ_WRITE"),
			customField("warrantyEnd", "Warranty end", "TEXT", "NODE", "READ_ONLY"),
			customField("contractNotes", "Contract notes", "WYSIWYG", "ORGANIZATION", "NONE"),
		},
		FieldMapping: map[string]string{
			"TenantLinks": "cippTenantLinks", "TenantSummary": "cippTenantSummary", "UsersSummary": "cippUsersSummary",
			"DeviceLinks": "cippDeviceLinks", "DeviceSummary": "cippDeviceSummary", "DeviceCompliance": "cippDeviceCompliance",
			"DeviceNonCompliantSettings": "cippDeviceNonCompliantSettings",
		},
	}
	return s
}

func customField(name, label, typ, scope, apiPermission string) ninjasim.CustomField {
	return ninjasim.CustomField{Name: name, Label: label, Type: typ, DefinitionScope: []string{scope},
		APIPermission: apiPermission, TechnicianPermission: "READ_ONLY"}
}

func randomSecret() string { return rand.Text() + rand.Text() }
