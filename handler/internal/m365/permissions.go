package m365

// part names a part of the snapshot in the table of permissions.
type part int

const (
	partOrganization part = iota
	partDomains
	partUsers
	partGroups
	partRoles
	partSKUs
	partSubscriptions
	partManagedDevices
	partEntraDevices
	partPolicyStates
	partConditionalAccess
	partAuthorizationPolicy
	partSecureScore
	partMailboxUsage
	partOneDriveUsage
	partReportSettings
	partSignInActivity
	partMailboxes
	partCASMailboxes
	partUnifiedAudit
	partBlockedSenders
)

// Permission is what the app needs to read one part of a tenant.
type Permission struct {
	Part        string // in words, for a technician
	Service     string // "Microsoft Graph" or "Exchange Online"
	Delegated   string // least delegated permission
	Application string // least application permission
	Optional    bool   // without it the reading loses a detail, not a part
}

// permissions is the one table of what each part needs. Sources: the
// permissions tables of each call in Microsoft Graph's documentation.
var permissions = map[part]Permission{
	partOrganization:        same("Organization", "Organization.Read.All"),
	partDomains:             same("Domains", "Domain.Read.All"),
	partUsers:               same("Users", "User.Read.All"),
	partGroups:              same("Groups", "GroupMember.Read.All"),
	partRoles:               same("Directory roles", "RoleManagement.Read.Directory"),
	partSKUs:                same("Licences", "Organization.Read.All"),
	partSubscriptions:       same("Subscriptions", "Organization.Read.All"),
	partManagedDevices:      same("Intune devices", "DeviceManagementManagedDevices.Read.All"),
	partEntraDevices:        same("Entra devices", "Device.Read.All"),
	partPolicyStates:        same("Compliance policies of devices", "DeviceManagementConfiguration.Read.All"),
	partConditionalAccess:   same("Conditional Access", "Policy.Read.All"),
	partAuthorizationPolicy: same("User consent", "Policy.Read.All"),
	partSecureScore:         same("Secure score", "SecurityEvents.Read.All"),
	partMailboxUsage:        same("Mailbox usage", "Reports.Read.All"),
	partOneDriveUsage:       same("OneDrive usage", "Reports.Read.All"),
	partReportSettings:      detail("Concealment of usage reports", "ReportSettings.Read.All"),
	partSignInActivity:      detail("Last sign-in of users", "AuditLog.Read.All"),
	partMailboxes:           inExchange("Mailbox settings"),
	partCASMailboxes:        inExchange("Mailbox protocols"),
	partUnifiedAudit:        inExchange("Unified audit log"),
	partBlockedSenders:      inExchange("Restricted senders"),
}

func same(name, permission string) Permission {
	return Permission{Part: name, Service: serviceGraph, Delegated: permission, Application: permission}
}

func detail(name, permission string) Permission {
	p := same(name, permission)
	p.Optional = true
	return p
}

func inExchange(name string) Permission {
	return Permission{Part: name, Service: serviceExchange, Delegated: "Exchange.Manage", Application: "Exchange.ManageAsApp"}
}

// Permissions returns what the app needs for each part of a tenant, in the
// order in which a technician meets the parts.
func Permissions() []Permission {
	out := make([]Permission, 0, len(permissions))
	for p := part(0); int(p) < len(permissions); p++ {
		out = append(out, permissions[p])
	}
	return out
}
