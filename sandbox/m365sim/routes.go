package m365sim

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

const both = "v1.0 beta"

var (
	intunePerms = []string{"DeviceManagementManagedDevices.Read.All"}
	intuneConf  = []string{"DeviceManagementConfiguration.Read.All"}
	statePerms  = []string{"DeviceManagementManagedDevices.Read.All", "DeviceManagementConfiguration.Read.All"}
	memberPerms = []string{"GroupMember.Read.All", "Group.Read.All", "Directory.Read.All"}
	rolePerms   = []string{"RoleManagement.Read.Directory", "Directory.Read.All"}
	orgPerms    = []string{"Organization.Read.All", "Directory.Read.All"}
	userPerms   = []string{"User.Read.All", "Directory.Read.All"}
	devicePerms = []string{"Device.Read.All", "Directory.Read.All"}
)

// routes are the paths of Graph that the simulator knows.
var routes []route

func init() {
	get := func(path, typ, options string, perms []string, serve func(*Server, *call, *query) *answer) *route {
		routes = append(routes, route{method: http.MethodGet, path: path, versions: both,
			rules: rules{typ: typ, options: options, maxTop: 999}, perms: perms, serve: serve})
		return &routes[len(routes)-1]
	}
	list := func(path, typ, options string, size int, perms []string, rows func(t *Tenant) []Entity) *route {
		r := get(path, typ, options, perms, func(s *Server, c *call, q *query) *answer {
			return s.entities(c, q, typ, rows, size)
		})
		r.list = true
		return r
	}
	item := func(path, typ string, perms []string, rows func(t *Tenant) []Entity) *route {
		return get(path, typ, "select", perms, func(s *Server, c *call, q *query) *answer {
			return s.single(c, q, typ, func(t *Tenant) Entity { return Find(rows(t), strings.ToLower(c.params["id"])) })
		})
	}

	organization := func(t *Tenant) []Entity { return []Entity{t.Organization} }
	list("/organization", "organization", "select", 100, orgPerms, organization)
	item("/organization/{id}", "organization", orgPerms, organization)
	domains := func(t *Tenant) []Entity { return t.Domains }
	list("/domains", "domain", "select top", 999, []string{"Domain.Read.All", "Directory.Read.All"}, domains)
	item("/domains/{id}", "domain", []string{"Domain.Read.All", "Directory.Read.All"}, domains)
	list("/subscribedSkus", "subscribedSku", "select", 10000, orgPerms, func(t *Tenant) []Entity { return t.SKUs })
	list("/directory/subscriptions", "companySubscription", "select filter", 100, orgPerms,
		func(t *Tenant) []Entity { return t.Subscriptions }).rules.filters = []string{"skuId", "id"}

	deltaRoute("/users/delta", "user", userPerms, func(t *Tenant) []Entity { return t.Users })
	r := get("/users", "user", "select top filter count orderby", userPerms, serveUsers)
	r.list = true
	r.rules.filters = []string{"id", "userPrincipalName", "accountEnabled", "userType", "assignedLicenses/$count+", "accountEnabled ne", "userType ne+"}
	r.rules.orderBy = []string{"displayName", "userPrincipalName"}
	get("/users/{id}", "user", "select", userPerms, serveUser)

	groups := func(t *Tenant) []Entity { return t.Groups }
	deltaRoute("/groups/delta", "group", memberPerms, groups)
	r = list("/groups", "group", "select top filter count orderby", 100, memberPerms, groups)
	r.rules.filters = []string{"id", "displayName", "securityEnabled", "mailEnabled"}
	r.rules.orderBy = []string{"displayName"}
	item("/groups/{id}", "group", memberPerms, groups)
	for _, path := range []string{"/groups/{id}/members", "/groups/{id}/transitiveMembers"} {
		get(path, "directoryObject", "select top count", memberPerms, serveMembers).list = true
	}

	roles := func(t *Tenant) []Entity { return t.Roles }
	deltaRoute("/directoryRoles/delta", "directoryRole", rolePerms, roles)
	list("/directoryRoles", "directoryRole", "select filter", 10000, rolePerms, roles).rules.filters = []string{"roleTemplateId", "displayName"}
	item("/directoryRoles/{id}", "directoryRole", rolePerms, roles)
	get("/directoryRoles/{id}/members", "directoryObject", "select", rolePerms, serveMembers).list = true

	devices := func(t *Tenant) []Entity { return t.Devices }
	deltaRoute("/devices/delta", "device", devicePerms, devices)
	r = list("/devices", "device", "select top filter count orderby", 100, devicePerms, devices)
	r.rules.filters = []string{"id", "deviceId", "displayName", "accountEnabled", "isCompliant", "isManaged"}
	r.rules.orderBy = []string{"displayName"}
	item("/devices/{id}", "device", devicePerms, devices)

	policy := []string{"Policy.Read.All"}
	access := func(t *Tenant) []Entity { return t.ConditionalAccess }
	r = list("/identity/conditionalAccess/policies", "conditionalAccessPolicy", "select top filter", 999, policy, access)
	r.rules.filters, r.refusal = []string{"state", "id"}, deniedPolicy
	item("/identity/conditionalAccess/policies/{id}", "conditionalAccessPolicy", policy, access).refusal = deniedPolicy
	get("/policies/authorizationPolicy", "authorizationPolicy", "select", policy, serveAuthorizationPolicy)
	get("/policies/identitySecurityDefaultsEnforcementPolicy", "identitySecurityDefaultsEnforcementPolicy", "select", policy,
		func(s *Server, c *call, q *query) *answer {
			return s.single(c, q, "identitySecurityDefaultsEnforcementPolicy", func(t *Tenant) Entity { return t.SecurityDefaults })
		})

	managed := func(t *Tenant) []Entity { return t.ManagedDevices }
	r = list("/deviceManagement/managedDevices", "managedDevice", "select top filter count", 1000, intunePerms, managed)
	r.rules.maxTop, r.refusal = 1000, deniedIntune
	r.rules.filters = []string{"azureADDeviceId", "deviceName", "serialNumber", "userId", "operatingSystem", "complianceState", "complianceState ne"}
	item("/deviceManagement/managedDevices/{id}", "managedDevice", intunePerms, managed).refusal = deniedIntune
	r = get("/deviceManagement/managedDevices/{id}/deviceCompliancePolicyStates", "deviceCompliancePolicyState", "select top expand", statePerms, servePolicyStates)
	r.list, r.rules.expand, r.rules.maxTop, r.refusal = true, []string{"settingStates"}, 1000, deniedIntune
	r = get("/deviceManagement/managedDevices/{id}/deviceCompliancePolicyStates/{policy}/settingStates", "", "", statePerms, serveSettingStates)
	r.list, r.refusal = true, deniedIntune
	r = list("/deviceManagement/deviceCompliancePolicies", "deviceCompliancePolicy", "select top", 1000, intuneConf,
		func(t *Tenant) []Entity { return t.CompliancePolicies })
	r.rules.maxTop, r.refusal = 1000, deniedIntune

	security := []string{"SecurityEvents.Read.All"}
	r = list("/security/secureScores", "secureScore", "select top", 100, security, func(t *Tenant) []Entity {
		return sortedBy(t.SecureScores, "createdDateTime", true)
	})
	r.refusal = deniedSecurity
	r = list("/security/secureScoreControlProfiles", "secureScoreControlProfile", "select top", 100, security,
		func(t *Tenant) []Entity { return t.SecureScoreProfiles })
	r.refusal = deniedSecurity

	get("/admin/reportSettings", "adminReportSettings", "select", []string{"ReportSettings.Read.All"},
		func(s *Server, c *call, q *query) *answer {
			return s.single(c, q, "adminReportSettings", func(t *Tenant) Entity {
				return Entity{"id": "reportSettings", "displayConcealedNames": t.ReportsConcealed}
			})
		}).refusal = deniedReports
	for _, name := range []string{"getMailboxUsageDetail", "getOneDriveUsageAccountDetail"} {
		r = get("/reports/"+name+"({})", "", "format top", []string{"Reports.Read.All"}, serveReport)
		r.list, r.refusal = true, deniedReports
	}

	routes = append(routes, route{method: http.MethodPost, path: "/$batch", versions: both, serve: serveBatch})
}

// sortedBy returns the list sorted by a text property.
func sortedBy(list []Entity, property string, desc bool) []Entity {
	return slices.SortedStableFunc(slices.Values(list), func(a, b Entity) int {
		n := cmp.Compare(strings.ToLower(a.String(property)), strings.ToLower(b.String(property)))
		if desc {
			return -n
		}
		return n
	})
}
