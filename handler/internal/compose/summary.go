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
			x.licensedUsers().inCIPP(x.links.inCIPP(cippUsers)),
			number(x.snap.ManagedDevices, len(x.devices), iconDevices, "Devices", x.links.devices()).inCIPP(x.links.inCIPP(cippDevices)),
			number(x.snap.Groups, len(x.groups), iconGroups, "Groups", x.links.groups()).inCIPP(x.links.inCIPP(cippGroups)),
			x.rolesInUse().inCIPP(x.links.inCIPP(cippRoles)),
			x.planWidget("Entra ID licence", "Free", x.links.products(), []plan{{"AAD_PREMIUM_P2", "P2"}, {"AAD_PREMIUM", "P1"}}),
			x.planWidget("Defender for Endpoint", "None", x.links.defender("machines"), []plan{{"WINDEFATP", "Plan 2"}, {"MDE_SMB", "Business"}, {"MDE_LITE", "Plan 1"}}),
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

// stated is a widget of a part. What say returns of its value is shown, and added to the
// caption.
func stated[T any](p tenant.Part[T], caption string, href link, say func(T) (value line, more string)) widget {
	value, more := untold(p.Reason)
	if p.OK() {
		value, more = say(p.Value)
	}
	if more != "" {
		caption += ". " + more
	}
	value.Href = href
	return widget{Value: value, Caption: caption}
}

// untold is what a widget says of a value that is not known.
func untold(reason string) (value line, more string) {
	return line{Icon: iconUnknown, Text: "Unknown"}, unavailable(reason)
}

// number is a widget that counts a part.
func number[T any](p tenant.Part[T], n int, icon literal, caption string, href link) widget {
	return stated(p, caption, href, func(T) (line, string) {
		return line{Icon: icon, Tone: information, Text: count(n)}, ""
	})
}

// licensedUsers counts the users with a licence, guests among them.
func (x *index) licensedUsers() widget {
	n := 0
	for _, u := range x.users {
		if u.Licensed() {
			n++
		}
	}
	w := number(x.snap.Users, n, iconLicence, "Licensed users", x.links.users())
	if _, lost := x.unknown(tenant.DetailLicenses); lost && x.snap.Users.OK() {
		w.Value.Text = "At least " + w.Value.Text
		w.Caption += ". " + unavailable(x.snap.Unknown[tenant.DetailLicenses].Reason)
	}
	return w
}

func (x *index) unusedLicences() widget {
	return stated(x.snap.SKUs, "Unused licences", x.links.licences(), func([]tenant.SKU) (line, string) {
		n, odd := 0, 0
		for _, sku := range x.licences() {
			if !sku.Counted() {
				odd++
				continue
			}
			n += sku.Unused()
		}
		switch {
		case odd > 0:
			value, _ := untold("")
			if n > 0 {
				value = line{Icon: iconLicence, Tone: warning, Text: "At least " + count(n)}
			}
			return value, "Not counted: " + count(odd) + " whose numbers could not be read"
		case n > 0:
			return line{Icon: iconLicence, Tone: warning, Text: count(n)}, ""
		}
		return line{Icon: iconGood, Tone: good, Text: "None"}, ""
	})
}

func (x *index) unifiedAudit() widget {
	return stated(x.snap.UnifiedAudit, "Unified audit log", x.links.defender("auditlogsearch"), func(on bool) (line, string) {
		if on {
			return line{Icon: iconGood, Tone: good, Text: "On"}, ""
		}
		return line{Icon: iconBad, Tone: bad, Text: "Off"}, ""
	})
}

// passwordExpiry looks at the default domain, which is the one of new users.
func (x *index) passwordExpiry() widget {
	return stated(x.snap.Domains, "Password never expires", x.links.passwordPolicy(), func([]tenant.Domain) (line, string) {
		for _, d := range x.domains() {
			if !d.IsDefault {
				continue
			}
			switch v := d.PasswordValidityDays; {
			case v == nil:
				return untold("no password policy is reported for " + text(d.Name))
			case *v == tenant.NeverExpires:
				return line{Icon: iconGood, Tone: good, Text: "Yes"}, ""
			default:
				return line{Icon: iconWarning, Tone: warning, Text: "No"}, "Passwords expire after " + plural(int(*v), "day", "days")
			}
		}
		return untold("no domain is marked as the default one")
	})
}

// userConsent judges the permission grant policies that Entra assigns to members. They
// have none, one of the restricted built-in ones, or something wider.
func (x *index) userConsent() widget {
	const prefix = "managepermissiongrantsforself."
	return stated(x.snap.AuthorizationPolicy, "User consent to apps restricted", x.links.consent(), func(policy tenant.AuthorizationPolicy) (line, string) {
		limited, wide := false, false
		for _, p := range policy.UserConsentPolicies {
			name, found := strings.CutPrefix(fold(p), prefix)
			low := name == "microsoft-user-default-low" || name == "microsoft-user-default-recommended"
			limited, wide = limited || found && low, wide || found && !low
		}
		switch {
		case wide:
			return line{Icon: iconBad, Tone: bad, Text: "No"}, "Users may consent to applications"
		case limited:
			return line{Icon: iconGood, Tone: good, Text: "Limited"}, "Users may consent to low-risk permissions only"
		}
		return line{Icon: iconGood, Tone: good, Text: "Yes"}, ""
	})
}

func (x *index) restrictedSenders() widget {
	return stated(x.snap.BlockedSenders, "Restricted senders", x.links.defender("restrictedentities"), func(all []string) (line, string) {
		if n := len(folded(all)); n > 0 {
			return line{Icon: iconBad, Tone: bad, Text: count(n)}, "Blocked from sending mail"
		}
		return line{Icon: iconGood, Tone: good, Text: "None"}, ""
	})
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

// usablePlans are the names of the service plans of which the tenant has licences.
func (x *index) usablePlans() map[string]bool {
	has := map[string]bool{}
	for _, sku := range x.skus {
		if sku.Usable() <= 0 && (!sku.UnitsUnknown || sku.Status != "Enabled") {
			continue
		}
		for _, p := range sku.ServicePlans {
			if !strings.EqualFold(p.Status, "Disabled") {
				has[strings.ToUpper(p.Name)] = true
			}
		}
	}
	return has
}

// planWidget names the first of the plans that the tenant has.
func (x *index) planWidget(caption, none string, href link, plans []plan) widget {
	return stated(x.snap.SKUs, caption, href, func([]tenant.SKU) (line, string) {
		has := x.usablePlans()
		for _, p := range plans {
			if has[p.id] {
				return line{Icon: iconGood, Tone: good, Text: p.name}, ""
			}
		}
		return line{Icon: "fas fa-circle-minus", Tone: warning, Text: none}, ""
	})
}

func (x *index) directorySync() widget {
	return stated(x.snap.Organization, "Directory sync", x.links.directorySync(), func(o tenant.Organization) (line, string) {
		if !o.OnPremisesSyncEnabled {
			return line{Icon: "fas fa-cloud", Text: "Off"}, "Cloud only"
		}
		on := line{Icon: iconGood, Tone: good, Text: "On"}
		if date(o.OnPremisesLastSync) == "" || days(o.OnPremisesLastSync, x.in.Today) > 7 {
			on.Icon, on.Tone = iconWarning, warning
		}
		return on, "Last run " + bracket(o.OnPremisesLastSync, x.in.Today)
	})
}
