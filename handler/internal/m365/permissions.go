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
	partVulnerabilities

	// partDetail is a detail of another part, which needs no permission of its own.
	partDetail
)

// Permission is what the app needs to read one part of a tenant.
type Permission struct {
	Part        string // in words, for a technician
	Service     string // "Microsoft Graph", "Exchange Online" or "Microsoft Defender"
	Delegated   string // least delegated permission
	Application string // least application permission
	Optional    bool   // without it the reading loses a detail, not a part

	higher []string // permissions beyond ReadWrite for Read that serve as well
}

// Permissions that serve in place of a narrower one, as the permissions tables
// list them.
var (
	wholeDirectory = []string{"Directory.Read.All", "Directory.ReadWrite.All", "Directory.AccessAsUser.All"}
	organizational = append([]string{"Organization.ReadWrite.All"}, wholeDirectory...)
	grouping       = append([]string{"Group.Read.All", "Group.ReadWrite.All"}, wholeDirectory...)
)

// permissions is the one table of what each part needs. Sources: the
// permissions tables of each call in Microsoft Graph's documentation.
var permissions = map[part]Permission{
	partOrganization:        same("Organization", "Organization.Read.All", organizational...),
	partDomains:             same("Domains", "Domain.Read.All", wholeDirectory...),
	partUsers:               same("Users", "User.Read.All", wholeDirectory...),
	partGroups:              same("Groups", "GroupMember.Read.All", grouping...),
	partRoles:               same("Directory roles", "RoleManagement.Read.Directory", wholeDirectory...),
	partSKUs:                same("Licences", "Organization.Read.All", organizational...),
	partSubscriptions:       same("Subscriptions", "Organization.Read.All", organizational...),
	partManagedDevices:      same("Intune devices", "DeviceManagementManagedDevices.Read.All"),
	partEntraDevices:        same("Entra devices", "Device.Read.All", wholeDirectory...),
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
	partVulnerabilities: {Part: "Vulnerabilities", Service: serviceDefender, Optional: true,
		Delegated: "Vulnerability.Read", Application: "Vulnerability.Read.All", higher: []string{"Vulnerability.Read.All"}},
}

func same(name, permission string, higher ...string) Permission {
	return Permission{Part: name, Service: serviceGraph, Delegated: permission, Application: permission, higher: higher}
}

func detail(name, permission string) Permission {
	p := same(name, permission)
	p.Optional = true
	return p
}

func inExchange(name string) Permission {
	return Permission{Part: name, Service: serviceExchange, Delegated: "Exchange.Manage", Application: "Exchange.ManageAsApp"}
}

// Permissions returns what the app needs for each part of a tenant, as technicians meet
// the parts.
func Permissions() []Permission {
	out := make([]Permission, 0, len(permissions))
	for p := part(0); int(p) < len(permissions); p++ {
		out = append(out, permissions[p])
	}
	return out
}
