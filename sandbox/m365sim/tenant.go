package m365sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Entity is one object of the service, by the property names of Graph or
// Exchange. Values are what encoding/json can encode; times are RFC 3339
// strings in UTC.
type Entity map[string]any

// ID returns the property "id", or "" when there is none.
func (e Entity) ID() string {
	id, _ := e["id"].(string)
	return id
}

// String returns a property that is text, or "".
func (e Entity) String(property string) string {
	s, _ := e[property].(string)
	return s
}

// Member is one direct member of a group or directory role.
type Member struct {
	Type string // "user", "group", "device" or "servicePrincipal"
	ID   string // directory object id
}

// LoginCode is the AADSTS number with which the login service refuses a token.
type LoginCode int

// The refusals that a tenant can be set to answer with.
const (
	LoginOK        LoginCode = 0
	ConsentMissing LoginCode = 65001  // the tenant has not consented to the application
	NoGDAP         LoginCode = 500571 // the partner has no relation with the tenant
	MFARequired    LoginCode = 50076  // the service account is asked for a second factor
)

// Tenant is one simulated Microsoft 365 tenant. The fields may be set freely
// until the tenant is given to [New]; afterwards only inside [Tenant.Change].
type Tenant struct {
	ID            string // tenant GUID in lower case
	DisplayName   string
	DefaultDomain string
	InitialDomain string // the *.onmicrosoft.com domain

	Organization  Entity
	Domains       []Entity
	SKUs          []Entity // subscribedSku
	Subscriptions []Entity // companySubscription
	Users         []Entity
	Groups        []Entity
	Roles         []Entity // directoryRole, activated ones
	Devices       []Entity // Entra devices

	// Members holds the direct members by group or role id.
	Members map[string][]Member

	ManagedDevices     []Entity
	CompliancePolicies []Entity // with "@odata.type" of the platform's policy
	// PolicyStates holds the compliance policy states by managed device id;
	// the settings are in "settingStates".
	PolicyStates map[string][]Entity

	ConditionalAccess   []Entity
	AuthorizationPolicy Entity
	SecureScores        []Entity // in any order; answered newest first
	SecureScoreProfiles []Entity
	MailboxUsage        []Entity // keys of the JSON report, for example storageUsedInBytes
	OneDriveUsage       []Entity
	Mailboxes           []Entity // rows of Get-Mailbox
	CASMailboxes        []Entity // rows of Get-CASMailbox
	BlockedSenders      []Entity // rows of Get-BlockedSenderAddress
	AuditLogConfig      Entity   // row of Get-AdminAuditLogConfig
	Permissions         []string // what the application was granted, for example "User.Read.All"
	ReportsConcealed    bool     // usage reports hide names
	NoIntune            bool     // deviceManagement is not applicable to the tenant
	NoExchangeRole      bool     // the account holds no Exchange role
	NoDefender          bool     // the tenant has no licence for Defender's export

	// Vulnerabilities are the records of Defender's export, in the order in
	// which it gives them. Change the slice by putting another in its place: an
	// export under way is a snapshot.
	Vulnerabilities []Vulnerability

	Login LoginCode // refuses every token of this tenant when set

	// Direct marks a tenant without a partner relation: only RefreshToken,
	// and not the partner's, is good for it.
	Direct       bool
	RefreshToken string

	mu sync.RWMutex
}

// AllPermissions returns the permissions of a completely set up application. Their names
// are Microsoft Graph's, Exchange's and Defender's.
func AllPermissions() []string {
	return []string{
		"AuditLog.Read.All", "Device.Read.All", "DeviceManagementConfiguration.Read.All",
		"DeviceManagementManagedDevices.Read.All", "Directory.Read.All", "Domain.Read.All",
		"Exchange.Manage", "Group.Read.All", "GroupMember.Read.All", "Organization.Read.All", "Policy.Read.All",
		"Reports.Read.All", "ReportSettings.Read.All", "RoleManagement.Read.Directory",
		"SecurityEvents.Read.All", "User.Read.All", "Vulnerability.Read", "Vulnerability.Read.All",
	}
}

// Change calls f while nothing else reads the tenant.
func (t *Tenant) Change(f func(t *Tenant)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t)
}

// View calls f while nothing else changes the tenant.
func (t *Tenant) View(f func(t *Tenant)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	f(t)
}

// Deny takes permissions away from the application in this tenant.
func (t *Tenant) Deny(permissions ...string) {
	t.Change(func(t *Tenant) {
		t.Permissions = slices.DeleteFunc(slices.Clone(t.Permissions), func(p string) bool {
			return slices.Contains(permissions, p)
		})
	})
}

// Grant gives permissions to the application in this tenant.
func (t *Tenant) Grant(permissions ...string) {
	t.Change(func(t *Tenant) {
		for _, p := range permissions {
			if !slices.Contains(t.Permissions, p) {
				t.Permissions = append(t.Permissions, p)
			}
		}
	})
}

// SetLogin makes the login service refuse this tenant with the code, or serve
// it again with LoginOK.
func (t *Tenant) SetLogin(c LoginCode) { t.Change(func(t *Tenant) { t.Login = c }) }

// Find returns the entity of the list with the id, or nil. Call it inside
// [Tenant.Change] or [Tenant.View].
func Find(list []Entity, id string) Entity {
	i := slices.IndexFunc(list, func(e Entity) bool { return e.ID() == id })
	if i < 0 {
		return nil
	}
	return list[i]
}

// premium reports whether the tenant owns Entra ID P1 or P2, which Graph
// demands for sign-in activity.
func (t *Tenant) premium() bool {
	for _, sku := range t.SKUs {
		plans, _ := sku["servicePlans"].([]Entity)
		for _, p := range plans {
			if n := p.String("servicePlanName"); n == "AAD_PREMIUM" || n == "AAD_PREMIUM_P2" {
				return true
			}
		}
	}
	return false
}

// granted reports whether any of the permissions was granted; no permission
// asked for is always granted.
func (t *Tenant) granted(anyOf []string) bool {
	return len(anyOf) == 0 || slices.ContainsFunc(anyOf, func(p string) bool { return slices.Contains(t.Permissions, p) })
}

// Validate checks that the schema knows every property of every entity. It checks that
// ids are there and unique, and that references lead somewhere.
func (t *Tenant) Validate() error {
	for _, set := range []struct {
		typ  string
		rows []Entity
	}{
		{"organization", []Entity{t.Organization}}, {"domain", t.Domains}, {"subscribedSku", t.SKUs},
		{"companySubscription", t.Subscriptions}, {"user", t.Users}, {"group", t.Groups}, {"directoryRole", t.Roles},
		{"device", t.Devices}, {"managedDevice", t.ManagedDevices}, {"deviceCompliancePolicy", t.CompliancePolicies},
		{"conditionalAccessPolicy", t.ConditionalAccess}, {"authorizationPolicy", []Entity{t.AuthorizationPolicy}},
		{"secureScore", t.SecureScores}, {"secureScoreControlProfile", t.SecureScoreProfiles},
	} {
		if err := validateRows(set.typ, set.rows); err != nil {
			return fmt.Errorf("tenant %s: %w", t.ID, err)
		}
	}
	for device, states := range t.PolicyStates {
		if Find(t.ManagedDevices, device) == nil {
			return fmt.Errorf("tenant %s: policy states of a managed device that is not there: %s", t.ID, device)
		}
		if err := validateRows("deviceCompliancePolicyState", states); err != nil {
			return fmt.Errorf("tenant %s: %w", t.ID, err)
		}
	}
	known := map[Member]bool{}
	for typ, rows := range map[string][]Entity{"user": t.Users, "group": t.Groups, "device": t.Devices} {
		for _, e := range rows {
			known[Member{typ, e.ID()}] = true
		}
	}
	for owner, members := range t.Members {
		if Find(t.Groups, owner) == nil && Find(t.Roles, owner) == nil {
			return fmt.Errorf("tenant %s: members of %s, which is neither group nor role", t.ID, owner)
		}
		for _, m := range members {
			if m.Type != "servicePrincipal" && !known[m] {
				return fmt.Errorf("tenant %s: member %s %s of %s does not exist", t.ID, m.Type, m.ID, owner)
			}
		}
	}
	return nil
}

func validateRows(typ string, rows []Entity) error {
	schema := entityTypes[typ]
	seen := map[string]bool{}
	for _, e := range rows {
		if e == nil {
			return fmt.Errorf("there is no %s", typ)
		}
		for name := range maps.Keys(e) {
			if strings.HasPrefix(name, "@odata.") {
				continue
			}
			if _, ok := schema.property(name); !ok {
				return fmt.Errorf("%s %s has the unknown property %s", typ, e.ID(), name)
			}
		}
		if e.ID() == "" || seen[e.ID()] {
			return fmt.Errorf("%s has an empty or repeated id %q", typ, e.ID())
		}
		seen[e.ID()] = true
	}
	return nil
}
