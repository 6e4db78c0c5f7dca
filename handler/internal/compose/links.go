package compose

import (
	"slices"
	"strconv"
	"strings"
)

// Icons: Font Awesome 6, which NinjaOne loads.
const (
	iconGood    = "fas fa-circle-check"
	iconBad     = "fas fa-circle-xmark"
	iconWarning = "fas fa-triangle-exclamation"
	iconUnknown = "fas fa-circle-question"
	iconInfo    = "fas fa-circle-info"

	iconTenant   = "fas fa-building"
	iconUsers    = "fas fa-users"
	iconGroups   = "fas fa-user-group"
	iconDevices  = "fas fa-laptop"
	iconRoles    = "fas fa-user-shield"
	iconLicence  = "fas fa-id-badge"
	iconScore    = "fas fa-shield-halved"
	iconStandard = "fas fa-list-check"
	iconView     = "fas fa-eye"
	iconPortal   = "fab fa-microsoft"
)

// links builds the addresses of one tenant's pages. A link that cannot be
// built is "", and is left out.
type links struct {
	tenantID   string
	domain     string // default domain, else the best name there is
	sharePoint host   // of the SharePoint admin centre, or ""
	cipp       host   // "": no CIPP links
	ninja      host
}

func newLinks(in Input) links {
	ref := in.Snapshot.Tenant
	l := links{
		tenantID: ref.ID,
		domain:   ref.DefaultDomain,
		cipp:     checkedHost(in.CIPPHost),
		ninja:    checkedHost(in.NinjaHost),
	}
	initial := ref.InitialDomain
	for _, d := range in.Snapshot.Domains.Value {
		if l.domain == "" && d.IsDefault {
			l.domain = d.Name
		}
		if initial == "" && d.IsInitial {
			initial = d.Name
		}
	}
	if l.domain == "" {
		l.domain = l.tenantID
	}
	l.sharePoint = checkedHost(sharePointHost(ref.SharePointAdmin, initial, in.Snapshot.DoD))
	return l
}

// The admin centres.

// admin365 is a page of the Microsoft 365 admin centre.
func (l links) admin365(fragment ...string) link {
	a := address{host: "admin.cloud.microsoft", query: [][2]string{{"delegatedOrg", l.domain}}}
	if len(fragment) > 0 {
		a.path = []string{""}
		a.fragment = append([]string{""}, fragment...)
	}
	return a.url()
}

func (l links) exchange() link {
	return address{host: "admin.cloud.microsoft", path: []string{"exchange"}, query: [][2]string{{"delegatedOrg", l.domain}}}.url()
}

// entra is the Entra admin centre, or a blade of it.
func (l links) entra(blade ...string) link {
	a := address{host: "entra.microsoft.com", path: []string{l.domain}}
	if len(blade) > 0 {
		a.path = append(a.path, "")
		a.fragment = append([]string{"view"}, blade...)
	}
	return a.url()
}

// intune is the Intune admin centre, or a blade of it.
func (l links) intune(blade ...string) link {
	a := address{host: "intune.microsoft.com", path: []string{l.domain, ""}}
	if len(blade) > 0 {
		a.fragment = append([]string{"view"}, blade...)
	}
	return a.url()
}

func (l links) sharePointAdmin() link { return address{host: l.sharePoint}.url() }

func (l links) teams() link {
	return address{host: "admin.teams.microsoft.com", query: [][2]string{{"delegatedOrg", l.domain}}}.url()
}

// defender is the Defender portal, or a page of it.
func (l links) defender(page string) link {
	return address{host: "security.microsoft.com", path: []string{page}, query: [][2]string{{"tid", l.tenantID}}}.url()
}

func (l links) purview() link {
	return address{host: "purview.microsoft.com", path: []string{""}, query: [][2]string{{"tid", l.tenantID}}}.url()
}

func (l links) azure() link {
	return address{host: "portal.azure.com", path: []string{l.domain}}.url()
}

func (l links) powerPlatform() link {
	return address{host: "admin.powerplatform.microsoft.com", path: []string{"account", "login", l.tenantID}}.url()
}

func (l links) powerBI() link {
	return address{host: "app.powerbi.com", path: []string{"admin-portal"}, query: [][2]string{{"ctid", l.tenantID}}}.url()
}

// portals say how the address of a page of Microsoft's portals names the tenant. That is
// a query parameter or, where it is "", the first part of the path.
var portals = map[string]string{
	"security.microsoft.com": "tid", "compliance.microsoft.com": "tid", "purview.microsoft.com": "tid",
	"admin.microsoft.com": "delegatedOrg", "admin.cloud.microsoft": "delegatedOrg", "admin.exchange.microsoft.com": "delegatedOrg", "admin.teams.microsoft.com": "delegatedOrg",
	"entra.microsoft.com": "", "aad.portal.azure.com": "", "portal.azure.com": "", "intune.microsoft.com": "", "endpoint.microsoft.com": "",
}

// action is the page of a secure score action. Its address came from the tenant and names
// none, so it would open the technician's own tenant. Where we do not know how to name
// one, it is the tenant's page of actions.
func (l links) action(address string) link {
	u := plainURL(address)
	if u == nil {
		return ""
	}
	parameter, known := portals[u.Host]
	query := u.Query()
	first, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	switch {
	case !known, parameter == "" && first != "" && !strings.EqualFold(first, l.domain) && !strings.EqualFold(first, l.tenantID):
		return l.defender("securescore")
	case parameter == "tid":
		query.Set(parameter, l.tenantID)
	case parameter != "":
		query.Set(parameter, l.domain)
	case first == "":
		u.Path = "/" + l.domain + "/"
	}
	u.RawQuery = query.Encode()
	return tenantURL(u.String())
}

// Pages about one subject.

// about is a link to the page of something, without whose id there is none.
func about(id string, page link) link {
	if id == "" {
		return ""
	}
	return page
}

func (l links) users() link {
	return l.entra("Microsoft_AAD_UsersAndTenants", "UserManagementMenuBlade", "~", "AllUsers")
}

func (l links) user(id string) link {
	return about(id, l.entra("Microsoft_AAD_UsersAndTenants", "UserProfileMenuBlade", "~", "overview", "userId", id))
}

// signIns is a user's sign-in log.
func (l links) signIns(id string) link {
	return about(id, l.entra("Microsoft_AAD_UsersAndTenants", "UserProfileMenuBlade", "~", "SignIns", "userId", id))
}

// devicesOfUser is the list of a user's devices in Intune.
func (l links) devicesOfUser(id string) link {
	return about(id, l.intune("Microsoft_AAD_UsersAndTenants", "UserProfileMenuBlade", "~", "Devices", "userId", id))
}

func (l links) userInTeams(id string) link {
	return about(id, address{host: "admin.teams.microsoft.com", path: []string{"users", id, "account"}, query: [][2]string{{"delegatedOrg", l.domain}}}.url())
}

func (l links) policies() link {
	return l.entra("Microsoft_AAD_ConditionalAccess", "ConditionalAccessBlade", "~", "Policies")
}

// policy is the page of a Conditional Access policy.
func (l links) policy(id string) link {
	return about(id, l.entra("Microsoft_AAD_ConditionalAccess", "PolicyBlade", "policyId", id))
}

func (l links) groups() link {
	return l.entra("Microsoft_AAD_IAM", "GroupsManagementMenuBlade", "~", "AllGroups")
}

func (l links) group(id string) link {
	return about(id, l.entra("Microsoft_AAD_IAM", "GroupDetailsMenuBlade", "~", "Overview", "groupId", id))
}

func (l links) roles() link {
	return l.entra("Microsoft_AAD_IAM", "RolesManagementMenuBlade", "~", "AllRoles")
}

func (l links) consent() link {
	return l.entra("Microsoft_AAD_IAM", "ConsentPoliciesMenuBlade", "~", "UserSettings")
}

func (l links) products() link {
	return l.entra("Microsoft_AAD_IAM", "LicensesMenuBlade", "~", "Products")
}

func (l links) directorySync() link {
	return l.entra("Microsoft_AAD_Connect_Provisioning", "AADConnectMenuBlade", "~", "ConnectSync")
}

func (l links) domains() link  { return l.admin365("Domains") }
func (l links) licences() link { return l.admin365("licenses") }

func (l links) subscriptions() link { return l.admin365("subscriptions") }

func (l links) passwordPolicy() link {
	return l.admin365("Settings", "SecurityPrivacy", ":", "Settings", "L1", "PasswordPolicy")
}

func (l links) devices() link {
	return l.intune("Microsoft_Intune_DeviceSettings", "DevicesMenu", "~", "allDevices")
}

// device is the Intune page of a managed device.
func (l links) device(id string) link {
	return about(id, l.intune("Microsoft_Intune_Devices", "DeviceSettingsMenuBlade", "~", "overview", "mdmDeviceId", id))
}

// entraDevice is a page of an Entra device. The blade takes the object id,
// which is not the device id that Intune knows.
func (l links) entraDevice(page, objectID string) link {
	return about(objectID, l.entra("Microsoft_AAD_Devices", "DeviceDetailsMenuBlade", "~", page, "objectId", objectID))
}

// entraDevices is a page about all devices of Entra.
func (l links) entraDevices(page string) link {
	return l.entra("Microsoft_AAD_Devices", "DevicesMenuBlade", "~", page)
}

// ninjaDevice is the NinjaOne page of a device.
func (l links) ninjaDevice(id int) link {
	if id == 0 {
		return ""
	}
	return address{host: l.ninja, path: []string{""}, fragment: []string{"", "deviceDashboard", strconv.Itoa(id), "overview"}}.url()
}

// Pages of CIPP, as the versions after 10.8.2 have them. Where they moved since,
// a comment names the address that 10.8.2 (2026-08-08) and older versions have.
const (
	cippUsers       = "identity/administration/users"
	cippUser        = "identity/administration/users/user"
	cippInvestigate = "identity/administration/bec/case" // older: identity/administration/users/user/bec
	cippGroups      = "identity/administration/groups"
	cippDevices     = "endpoint/MEM/devices"
	cippDevice      = "endpoint/MEM/devices/device"   // older: the list, endpoint/MEM/devices
	cippLicences    = "tenant/reports/list-licenses"  // older: the report of best practices
	cippDomains     = "tenant/administration/domains" // older: the report of best practices
	cippGroup       = "identity/administration/groups/group"
	cippRoles       = "identity/administration/roles"
	cippStandards   = "tenant/standards/alignment" // older: tenant/standards/list-standards
	cippPractices   = "tenant/standards/bpa-report"
)

// inCIPP is a page of CIPP for the tenant; query pairs come before the
// tenant's.
func (l links) inCIPP(path string, query ...[2]string) link {
	return address{host: l.cipp, path: strings.Split(path, "/"), query: append(query, [2]string{"tenantFilter", l.domain})}.url()
}

// userInCIPP is a page about a user: cippUser, one below it, or cippInvestigate.
func (l links) userInCIPP(page, id string) link {
	return about(id, l.inCIPP(page, [2]string{"userId", id}))
}

func (l links) deviceInCIPP(id string) link {
	return about(id, l.inCIPP(cippDevice, [2]string{"deviceId", id}))
}

func (l links) groupInCIPP(id string) link {
	return about(id, l.inCIPP(cippGroup, [2]string{"groupId", id}))
}

// usable drops the lines whose link could not be built.
func usable(all ...line) []line {
	return slices.DeleteFunc(all, func(l line) bool { return l.Href == "" })
}

// tenantLinks composes TenantLinks.
func tenantLinks(l links) page {
	portals := card{Width: half, Icon: iconPortal, Title: "Microsoft portals", Links: usable(
		line{Icon: "fas fa-gears", Text: "Microsoft 365 admin", Href: l.admin365()},
		line{Icon: "fas fa-envelope", Text: "Exchange", Href: l.exchange()},
		line{Icon: "fas fa-users-gear", Text: "Entra", Href: l.entra()},
		line{Icon: iconDevices, Text: "Intune", Href: l.intune()},
		line{Icon: "fas fa-share-nodes", Text: "SharePoint admin", Href: l.sharePointAdmin()},
		line{Icon: "fas fa-comments", Text: "Teams", Href: l.teams()},
		line{Icon: iconScore, Text: "Defender", Href: l.defender("")},
		line{Icon: "fas fa-scale-balanced", Text: "Purview", Href: l.purview()},
		line{Icon: "fas fa-cloud", Text: "Azure", Href: l.azure()},
		line{Icon: "fas fa-bolt", Text: "Power Platform", Href: l.powerPlatform()},
		line{Icon: "fas fa-chart-column", Text: "Power BI", Href: l.powerBI()},
	)}
	p := page{Cards: []card{portals}}
	if l.cipp != "" {
		p.Cards = append(p.Cards, card{Width: half, Icon: "fas fa-compass", Title: "CIPP", Links: usable(
			line{Icon: "fas fa-gauge", Text: "Dashboard", Href: l.inCIPP("")},
			line{Icon: iconUsers, Text: "Users", Href: l.inCIPP(cippUsers)},
			line{Icon: iconGroups, Text: "Groups", Href: l.inCIPP(cippGroups)},
			line{Icon: iconDevices, Text: "Devices", Href: l.inCIPP(cippDevices)},
			line{Icon: "fas fa-user-plus", Text: "Create user", Href: l.inCIPP(cippUsers + "/add")},
			line{Icon: "fas fa-users-line", Text: "Create group", Href: l.inCIPP(cippGroups + "/add")},
		)})
	}
	return p
}
