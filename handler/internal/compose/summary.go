package compose

import (
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/tenant"
)

// tenantSummary composes TenantSummary.
func (x *index) tenantSummary() page {
	p := page{
		Widgets: []widget{
			x.unusedLicences().inCIPP(x.links.inCIPP(cippLicences)),
			x.unifiedAudit().inCIPP(x.links.inCIPP(cippPractices)),
			x.passwordExpiry().inCIPP(x.links.inCIPP(cippDomains)),
			x.userConsent().inCIPP(x.links.inCIPP(cippPractices)),
			x.restrictedSenders(),
			number(x.snap.Users, len(x.users), iconUsers, "Users", x.links.users()).inCIPP(x.links.inCIPP(cippUsers)),
			number(x.snap.Users, len(x.licensedUsers()), iconLicence, "Licensed users", x.links.users()).inCIPP(x.links.inCIPP(cippUsers)),
			number(x.snap.ManagedDevices, len(x.devices), iconDevices, "Devices", x.links.devices()).inCIPP(x.links.inCIPP(cippDevices)),
			number(x.snap.Groups, len(x.groups), iconGroups, "Groups", x.links.groups()).inCIPP(x.links.inCIPP(cippGroups)),
			x.rolesInUse().inCIPP(x.links.inCIPP(cippRoles)),
			x.entraPlan(),
			x.defenderPlan(),
			x.directorySync(),
		},
		Cards: []card{
			x.tenantCard(),
			x.usersCard(),
			x.devicesCard(),
			x.licencesCard(),
			x.secureScoreCard(),
			x.standardsCard(),
		},
	}
	if c, ok := x.vulnerabilitiesCard(); ok {
		p.Cards = slices.Insert(p.Cards, len(p.Cards)-1, c)
	}
	return p
}

// missing is a widget of a part that could not be read.
func missing(caption, reason string, href link) widget {
	return widget{
		Value:   line{Icon: iconUnknown, Text: "Unknown", Href: href},
		Caption: caption + ". " + unavailable(reason),
	}
}

// number is a widget that counts a part.
func number[T any](p tenant.Part[T], n int, icon literal, caption string, href link) widget {
	if !p.OK() {
		return missing(caption, p.Reason, href)
	}
	return widget{Value: line{Icon: icon, Tone: information, Text: count(n), Href: href}, Caption: caption}
}

func (x *index) unusedLicences() widget {
	const caption = "Unused licences"
	if !x.snap.SKUs.OK() {
		return missing(caption, x.snap.SKUs.Reason, x.links.licences())
	}
	n := 0
	for _, sku := range x.licences() {
		n += sku.Unused()
	}
	w := widget{Value: line{Icon: iconGood, Tone: good, Text: "None", Href: x.links.licences()}, Caption: caption}
	if n > 0 {
		w.Value.Icon, w.Value.Tone, w.Value.Text = iconLicence, warning, count(n)
	}
	return w
}

func (x *index) unifiedAudit() widget {
	const caption = "Unified audit log"
	href := x.links.defender("auditlogsearch")
	if !x.snap.UnifiedAudit.OK() {
		return missing(caption, x.snap.UnifiedAudit.Reason, href)
	}
	if x.snap.UnifiedAudit.Value {
		return widget{Value: line{Icon: iconGood, Tone: good, Text: "On", Href: href}, Caption: caption}
	}
	return widget{Value: line{Icon: iconBad, Tone: bad, Text: "Off", Href: href}, Caption: caption}
}

// passwordExpiry looks at the default domain, which is the one of new users.
func (x *index) passwordExpiry() widget {
	const caption = "Password never expires"
	href := x.links.passwordPolicy()
	if !x.snap.Domains.OK() {
		return missing(caption, x.snap.Domains.Reason, href)
	}
	for _, d := range x.domains() {
		if !d.IsDefault {
			continue
		}
		switch v := d.PasswordValidityDays; {
		case v == nil:
			return missing(caption, "no password policy is reported for "+text(d.Name), href)
		case *v == tenant.NeverExpires:
			return widget{Value: line{Icon: iconGood, Tone: good, Text: "Yes", Href: href}, Caption: caption}
		default:
			return widget{Value: line{Icon: iconWarning, Tone: warning, Text: "No", Href: href},
				Caption: caption + ". Passwords expire after " + plural(int(*v), "day", "days")}
		}
	}
	return missing(caption, "no domain is marked as the default one", href)
}

// userConsent judges the permission grant policies that Entra assigns to members. They
// have none, one of the restricted built-in ones, or something wider.
func (x *index) userConsent() widget {
	const (
		caption = "User consent to apps restricted"
		prefix  = "managepermissiongrantsforself."
	)
	href := x.links.consent()
	if !x.snap.AuthorizationPolicy.OK() {
		return missing(caption, x.snap.AuthorizationPolicy.Reason, href)
	}
	limited, wide := false, false
	for _, p := range x.snap.AuthorizationPolicy.Value.UserConsentPolicies {
		name, found := strings.CutPrefix(fold(p), prefix)
		if !found {
			continue
		}
		switch name {
		case "microsoft-user-default-low", "microsoft-user-default-recommended":
			limited = true
		default:
			wide = true
		}
	}
	switch {
	case wide:
		return widget{Value: line{Icon: iconBad, Tone: bad, Text: "No", Href: href},
			Caption: caption + ". Users may consent to applications"}
	case limited:
		return widget{Value: line{Icon: iconGood, Tone: good, Text: "Limited", Href: href},
			Caption: caption + ". Users may consent to low-risk permissions only"}
	}
	return widget{Value: line{Icon: iconGood, Tone: good, Text: "Yes", Href: href}, Caption: caption}
}

func (x *index) restrictedSenders() widget {
	const caption = "Restricted senders"
	href := x.links.defender("restrictedentities")
	if !x.snap.BlockedSenders.OK() {
		return missing(caption, x.snap.BlockedSenders.Reason, href)
	}
	senders := map[string]bool{}
	for _, s := range x.snap.BlockedSenders.Value {
		senders[fold(s)] = true
	}
	if len(senders) == 0 {
		return widget{Value: line{Icon: iconGood, Tone: good, Text: "None", Href: href}, Caption: caption}
	}
	return widget{Value: line{Icon: iconBad, Tone: bad, Text: count(len(senders)), Href: href},
		Caption: caption + ". Blocked from sending mail"}
}

func (x *index) rolesInUse() widget {
	n := 0
	for _, r := range x.roles() {
		if len(r.Members) > 0 {
			n++
		}
	}
	return number(x.snap.Roles, n, iconRoles, "Roles in use", x.links.roles())
}

// plan is a product that a service plan gives, the best first.
type plan struct{ id, name string }

// licensed returns the first of the plans that the tenant has.
func (x *index) licensed(plans []plan) string {
	has := map[string]bool{}
	for _, sku := range x.skus {
		if sku.Usable() <= 0 {
			continue
		}
		for _, p := range sku.ServicePlans {
			if !strings.EqualFold(p.Status, "Disabled") {
				has[strings.ToUpper(p.Name)] = true
			}
		}
	}
	for _, p := range plans {
		if has[p.id] {
			return p.name
		}
	}
	return ""
}

func (x *index) planWidget(caption, none string, href link, plans []plan) widget {
	if !x.snap.SKUs.OK() {
		return missing(caption, x.snap.SKUs.Reason, href)
	}
	if name := x.licensed(plans); name != "" {
		return widget{Value: line{Icon: iconGood, Tone: good, Text: name, Href: href}, Caption: caption}
	}
	return widget{Value: line{Icon: "fas fa-circle-minus", Tone: warning, Text: none, Href: href}, Caption: caption}
}

func (x *index) entraPlan() widget {
	return x.planWidget("Entra ID licence", "Free", x.links.products(), []plan{{"AAD_PREMIUM_P2", "P2"}, {"AAD_PREMIUM", "P1"}})
}

func (x *index) defenderPlan() widget {
	return x.planWidget("Defender for Endpoint", "None", x.links.defender("machines"),
		[]plan{{"WINDEFATP", "Plan 2"}, {"MDE_SMB", "Business"}, {"MDE_LITE", "Plan 1"}})
}

func (x *index) directorySync() widget {
	const caption = "Directory sync"
	href := x.links.directorySync()
	o := x.snap.Organization
	switch {
	case !o.OK():
		return missing(caption, o.Reason, href)
	case !o.Value.OnPremisesSyncEnabled:
		return widget{Value: line{Icon: "fas fa-cloud", Text: "Off", Href: href}, Caption: caption + ". Cloud only"}
	}
	w := widget{Value: line{Icon: iconGood, Tone: good, Text: "On", Href: href},
		Caption: caption + ". Last run " + bracket(o.Value.OnPremisesLastSync, x.in.Today)}
	if date(o.Value.OnPremisesLastSync) == "" || days(o.Value.OnPremisesLastSync, x.in.Today) > 7 {
		w.Value.Icon, w.Value.Tone = iconWarning, warning
	}
	return w
}
