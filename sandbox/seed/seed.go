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
	"encoding/hex"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
)

// Seed is one provider with all its data.
type Seed struct {
	// Day is the UTC day the data was made for; check-ins and sign-ins lie
	// shortly before or on it.
	Day time.Time

	Tenants       []*m365sim.Tenant
	Organizations []Organization
	NinjaDevices  []NinjaDevice
	CustomFields  []CustomField
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
	ScanGroups    []ScanGroup
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

// Organization is one organization of NinjaOne.
type Organization struct {
	ID          int
	Name        string
	Description string
}

// NinjaDevice is one device of NinjaOne, with the names of its API.
type NinjaDevice struct {
	ID, OrganizationID               int
	SystemName, DNSName, DisplayName string
	NodeClass                        string // for example WINDOWS_WORKSTATION
	SerialNumber, BIOSSerialNumber   string
	Manufacturer, Model, ChassisType string
	VirtualMachine                   bool
	OSName, LastLoggedInUser         string
	Offline                          bool
	LastContact                      time.Time
	IPAddresses, MACAddresses        []string
}

// CustomField is one custom field of NinjaOne.
type CustomField struct {
	Name, Label   string
	Type          string // WYSIWYG, TEXT, …
	Scope         string // NODE for devices, ORGANIZATION for organizations
	APIPermission string // NONE, READ_ONLY, WRITE_ONLY or READ_WRITE
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
	// Disabled stores the extension as switched off.
	Disabled bool
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
		SAM:      SAM{randomGUID(), randomSecret(), "5e0f6d1a-3c57-4a7e-9d5b-20c1f7a94e10", randomSecret() + randomSecret()},
		Ninja:    NinjaOne{Instance: "eu.ninjarmm.com", ClientID: randomSecret()[:27], Secret: randomSecret()},
		CIPPHost: "cipp.northwindow-it.example",
		CustomFields: []CustomField{
			{"cippTenantLinks", "Microsoft 365 links", "WYSIWYG", "ORGANIZATION", "READ_WRITE"},
			{"cippTenantSummary", "Microsoft 365 summary", "WYSIWYG", "ORGANIZATION", "READ_WRITE"},
			{"cippUsersSummary", "Microsoft 365 users", "WYSIWYG", "ORGANIZATION", "READ_WRITE"},
			{"cippDeviceLinks", "Intune links", "WYSIWYG", "NODE", "READ_WRITE"},
			{"cippDeviceSummary", "Intune summary", "WYSIWYG", "NODE", "READ_WRITE"},
			{"cippDeviceCompliance", "Intune compliance", "TEXT", "NODE", "READ_WRITE"},
			{"cippDeviceNonCompliantSettings", "Intune settings that fail", "TEXT_MULTILINE", "NODE", "READ_WRITE"},
			{"accountManager", "Account manager", "TEXT", "ORGANIZATION", "READ_WRITE"},
			{"warrantyEnd", "Warranty end", "TEXT", "NODE", "READ_ONLY"},
			{"contractNotes", "Contract notes", "WYSIWYG", "ORGANIZATION", "NONE"},
		},
		FieldMapping: map[string]string{
			"TenantLinks": "cippTenantLinks", "TenantSummary": "cippTenantSummary", "UsersSummary": "cippUsersSummary",
			"DeviceLinks": "cippDeviceLinks", "DeviceSummary": "cippDeviceSummary", "DeviceCompliance": "cippDeviceCompliance",
			"DeviceNonCompliantSettings": "cippDeviceNonCompliantSettings",
		},
		Quirks: Quirks{LicensedOnly: false},
	}
	return s
}

func randomSecret() string {
	var b [24]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func randomGUID() string {
	var b [16]byte
	rand.Read(b[:])
	return formatGUID(b)
}

func formatGUID(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
