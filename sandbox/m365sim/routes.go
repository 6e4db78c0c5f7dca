package m365sim

import (
	"net/http"
	"slices"
	"strings"
)

const both = "v1.0 beta"

var (
	intunePerms = []string{"DeviceManagementManagedDevices.Read.All"}
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

	list("/organization", "organization", "select", 100, orgPerms, func(t *Tenant) []Entity { return []Entity{t.Organization} })
	list("/domains", "domain", "select top", 999, []string{"Domain.Read.All", "Directory.Read.All"}, func(t *Tenant) []Entity { return t.Domains })
	list("/subscribedSkus", "subscribedSku", "select", 10000, orgPerms, func(t *Tenant) []Entity { return t.SKUs })
	list("/directory/subscriptions", "companySubscription", "select", 100, orgPerms, func(t *Tenant) []Entity { return t.Subscriptions })

	deltaRoute("/users/delta", "user", userPerms, func(t *Tenant) []Entity { return t.Users })
	get("/users", "user", "select top", userPerms, serveUsers).list = true

	groups := func(t *Tenant) []Entity { return t.Groups }
	deltaRoute("/groups/delta", "group", memberPerms, groups)
	list("/groups", "group", "select top", 100, memberPerms, groups)
	get("/groups/{id}/members", "directoryObject", "select top", memberPerms, serveMembers).list = true

	roles := func(t *Tenant) []Entity { return t.Roles }
	deltaRoute("/directoryRoles/delta", "directoryRole", rolePerms, roles)
	list("/directoryRoles", "directoryRole", "select", 10000, rolePerms, roles)
	get("/directoryRoles/{id}/members", "directoryObject", "select", rolePerms, serveMembers).list = true

	devices := func(t *Tenant) []Entity { return t.Devices }
	deltaRoute("/devices/delta", "device", devicePerms, devices)
	list("/devices", "device", "select top", 100, devicePerms, devices)
	get("/devices/{id}", "device", "select", devicePerms, func(s *Server, c *call, q *query) *answer {
		return s.single(c, q, "device", func(t *Tenant) Entity { return Find(t.Devices, strings.ToLower(c.params["id"])) })
	})

	policy := []string{"Policy.Read.All"}
	r := list("/identity/conditionalAccess/policies", "conditionalAccessPolicy", "select top", 999, policy, func(t *Tenant) []Entity { return t.ConditionalAccess })
	r.refusal = deniedPolicy
	r = get("/policies/authorizationPolicy", "authorizationPolicy", "select", policy, func(s *Server, c *call, q *query) *answer {
		return s.single(c, q, "authorizationPolicy", func(t *Tenant) Entity { return t.AuthorizationPolicy })
	})
	r.versions = "v1.0" // beta answers a collection

	r = list("/deviceManagement/managedDevices", "managedDevice", "select top filter", 1000, intunePerms, func(t *Tenant) []Entity { return t.ManagedDevices })
	r.rules.maxTop, r.rules.filter, r.refusal = 1000, "azureADDeviceId", deniedIntune
	r = get("/deviceManagement/managedDevices/{id}/deviceCompliancePolicyStates", "deviceCompliancePolicyState", "select top", statePerms, servePolicyStates)
	r.list, r.rules.maxTop, r.refusal = true, 1000, deniedIntune
	r = get("/deviceManagement/managedDevices/{id}/deviceCompliancePolicyStates/{policy}/settingStates", "", "", statePerms, serveSettingStates)
	r.list, r.refusal = true, deniedIntune

	r = list("/deviceManagement/deviceCompliancePolicies", "deviceCompliancePolicy", "select top", 1000, []string{"DeviceManagementConfiguration.Read.All"},
		func(t *Tenant) []Entity { return t.CompliancePolicies })
	r.rules.maxTop, r.refusal = 1000, deniedIntune

	security := []string{"SecurityEvents.Read.All"}
	r = list("/security/secureScores", "secureScore", "select top", 100, security, func(t *Tenant) []Entity {
		return slices.SortedStableFunc(slices.Values(t.SecureScores), func(a, b Entity) int {
			return strings.Compare(b.String("createdDateTime"), a.String("createdDateTime"))
		})
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
		get("/reports/"+name+"({})", "", "", []string{"Reports.Read.All"}, serveReport).refusal = deniedReports
	}

	routes = append(routes, route{method: http.MethodPost, path: "/$batch", versions: both, serve: serveBatch})
}
