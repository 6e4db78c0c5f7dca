package seed

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/sandbox/m365sim"
)

// builder makes one tenant with the NinjaOne devices of its organization.
type builder struct {
	seed   *Seed
	rng    *rand.Rand
	t      *m365sim.Tenant
	org    int
	prefix string // of device names
	used   map[string]bool

	// rename changes a name before it is used; nil = as it is.
	rename func(string) string
	// fresh makes every device and user of today, none stale.
	fresh bool
}

type entity = m365sim.Entity

// newTenant starts a tenant and, unless org is 0, maps it to the organization.
func newTenant(s *Seed, rng *rand.Rand, name, domain string, org int) *builder {
	label, _, _ := strings.Cut(domain, ".")
	b := &builder{seed: s, rng: rng, org: org, used: map[string]bool{}}
	for _, part := range strings.Split(label, "-") {
		b.prefix += strings.ToUpper(part[:1])
	}
	initial := strings.ReplaceAll(label, "-", "") + ".onmicrosoft.com"
	b.t = &m365sim.Tenant{
		ID: b.guid(), DisplayName: name, DefaultDomain: domain, InitialDomain: initial,
		Members: map[string][]m365sim.Member{}, PolicyStates: map[string][]entity{},
		Permissions: m365sim.AllPermissions(),
		AuditLogConfig: entity{"Identity": "Admin Audit Log Settings", "Name": "Admin Audit Log Settings",
			"UnifiedAuditLogIngestionEnabled": true, "AdminAuditLogEnabled": true, "AdminAuditLogAgeLimit": "90.00:00:00"},
	}
	b.t.Organization = entity{
		"id": b.t.ID, "displayName": name, "createdDateTime": stamp(s.Day.AddDate(-6, -2, -11)), "countryLetterCode": "NL",
		"tenantType": "AAD", "city": pick(rng, cities), "technicalNotificationMails": []string{"it@" + domain},
		"verifiedDomains": []entity{
			{"name": domain, "isDefault": true, "isInitial": false, "type": "Managed", "capabilities": "Email, OfficeCommunicationsOnline"},
			{"name": initial, "isDefault": false, "isInitial": true, "type": "Managed", "capabilities": "Email"},
		},
	}
	b.t.Domains = []entity{
		b.domain(domain, true, false, true), b.domain(initial, false, true, true), b.domain("old-"+domain, false, false, false),
	}
	s.Tenants = append(s.Tenants, b.t)
	return b
}

func (b *builder) domain(name string, isDefault, initial, verified bool) entity {
	e := entity{"id": name, "isDefault": isDefault, "isInitial": initial, "isVerified": verified, "isRoot": true,
		"isAdminManaged": true, "authenticationType": "Managed", "supportedServices": []string{"Email", "OfficeCommunicationsOnline"}}
	if verified {
		e["passwordValidityPeriodInDays"], e["passwordNotificationWindowInDays"] = 2147483647, 14
	}
	return e
}

// passwordsExpire lets the passwords of the default domain expire.
func (b *builder) passwordsExpire(days int) { b.t.Domains[0]["passwordValidityPeriodInDays"] = days }

// hybrid marks the tenant as synchronized from a local directory.
func (b *builder) hybrid() {
	b.t.Organization["onPremisesSyncEnabled"] = true
	b.t.Organization["onPremisesLastSyncDateTime"] = stamp(b.seed.Day.Add(40 * time.Minute))
	for _, u := range b.t.Users {
		if u["userType"] == "Member" {
			u["onPremisesSyncEnabled"] = true
		}
	}
}

// guid returns the next id of the tenant's own sequence.
func (b *builder) guid() string { return guid(b.rng) }

func guid(rng *rand.Rand) string {
	var x uuid.UUID
	for i := range x {
		x[i] = byte(rng.UintN(256))
	}
	x[6], x[8] = x[6]&0x0f|0x40, x[8]&0x3f|0x80
	return x.String()
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// stamp writes a time as Graph does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

func (b *builder) name(s string) string {
	if b.rename != nil {
		return b.rename(s)
	}
	return s
}

// ago returns a time in the last so many days before the seed's day. When fresh, it is
// shortly after the day's start.
func (b *builder) ago(days int) time.Time {
	if b.fresh {
		return b.seed.Day.Add(time.Duration(b.rng.IntN(60)) * time.Second)
	}
	return b.seed.Day.Add(-time.Duration(b.rng.IntN(days*24*60)) * time.Minute)
}

// users adds n members with the licence, where it is not "".
func (b *builder) users(n int, skus ...SKU) []entity {
	from := len(b.t.Users)
	for range n {
		first, last := pick(b.rng, firstNames), pick(b.rng, lastNames)
		alias := strings.ToLower(first + "." + strings.ReplaceAll(last, "-", ""))
		for i := 2; b.used[alias]; i++ {
			alias = fmt.Sprintf("%s.%s%d", strings.ToLower(first), strings.ToLower(strings.ReplaceAll(last, "-", "")), i)
		}
		b.used[alias] = true
		upn := alias + "@" + b.t.DefaultDomain
		department := pick(b.rng, departments)
		created := b.seed.Day.AddDate(0, 0, -30-b.rng.IntN(1800))
		u := entity{
			"id": b.guid(), "displayName": b.name(first + " " + last), "givenName": first, "surname": last,
			"userPrincipalName": upn, "mail": upn, "mailNickname": alias, "userType": "Member", "accountEnabled": b.rng.IntN(25) != 0,
			"jobTitle": department + " " + pick(b.rng, titles), "department": department, "officeLocation": pick(b.rng, cities),
			"usageLocation": "NL", "createdDateTime": stamp(created),
			"businessPhones": []string{fmt.Sprintf("+31 20 555 %04d", b.rng.IntN(10000))},
			"proxyAddresses": []string{"SMTP:" + upn, "smtp:" + alias + "@" + b.t.InitialDomain, "SIP:" + upn},
			"signInActivity": entity{"lastSignInDateTime": stamp(b.ago(12)), "lastSignInRequestId": b.guid(),
				"lastNonInteractiveSignInDateTime": stamp(b.ago(3)), "lastNonInteractiveSignInRequestId": b.guid()},
		}
		if b.rng.IntN(3) == 0 {
			u["mobilePhone"] = fmt.Sprintf("+31 6 5550 %04d", b.rng.IntN(10000))
		}
		b.t.Users = append(b.t.Users, u)
		for _, sku := range skus {
			b.license(u, sku, created.AddDate(0, 0, 1+b.rng.IntN(20)))
		}
	}
	return b.t.Users[from:]
}

// guests adds n guests of another tenant.
func (b *builder) guests(n int) {
	for range n {
		first, last := pick(b.rng, firstNames), pick(b.rng, lastNames)
		mail := strings.ToLower(first+"."+last) + fmt.Sprint(len(b.t.Users)) + "@partner-firm.example"
		b.t.Users = append(b.t.Users, entity{
			"id": b.guid(), "displayName": b.name(first + " " + last), "userType": "Guest", "accountEnabled": true, "mail": mail,
			"userPrincipalName": strings.ReplaceAll(mail, "@", "_") + "#EXT#@" + b.t.InitialDomain,
			"createdDateTime":   stamp(b.seed.Day.AddDate(0, -3, 0)), "proxyAddresses": []string{"SMTP:" + mail},
		})
	}
}

func (b *builder) license(u entity, sku SKU, assigned time.Time) {
	list, _ := u["assignedLicenses"].([]entity)
	u["assignedLicenses"] = append(list, entity{"skuId": sku.ID, "disabledPlans": []string{}})
	states, _ := u["licenseAssignmentStates"].([]entity)
	u["licenseAssignmentStates"] = append(states, entity{"skuId": sku.ID, "state": "Active", "error": "None",
		"assignedByGroup": nil, "disabledPlans": []string{}, "lastUpdatedDateTime": stamp(assigned)})
}

// products adds the SKUs with their subscriptions; extra licences are bought
// beyond those assigned. Call it after the users are there.
func (b *builder) products(extra int, skus ...SKU) {
	for i, sku := range skus {
		used := 0
		for _, u := range b.t.Users {
			list, _ := u["assignedLicenses"].([]entity)
			for _, l := range list {
				if l["skuId"] == sku.ID {
					used++
				}
			}
		}
		bought := used + extra
		if sku.Free {
			bought = 10000
		}
		var plans []entity
		for _, p := range sku.Plans {
			plans = append(plans, entity{"servicePlanId": p.ID, "servicePlanName": p.Name, "provisioningStatus": "Success", "appliesTo": "User"})
		}
		status, warning := "Enabled", 0
		subscription := b.guid()
		b.t.SKUs = append(b.t.SKUs, entity{
			"id": b.t.ID + "_" + sku.ID, "skuId": sku.ID, "skuPartNumber": sku.PartNumber, "appliesTo": "User",
			"capabilityStatus": status, "consumedUnits": used, "servicePlans": plans, "subscriptionIds": []string{subscription},
			"accountId": b.t.ID, "accountName": strings.TrimSuffix(b.t.InitialDomain, ".onmicrosoft.com"),
			"prepaidUnits": entity{"enabled": bought, "suspended": 0, "warning": warning, "lockedOut": 0},
		})
		sub := entity{
			"id": subscription, "commerceSubscriptionId": b.guid(), "skuId": sku.ID, "skuPartNumber": sku.PartNumber,
			"status": status, "totalLicenses": bought, "isTrial": sku.Trial, "serviceStatus": plans,
			"createdDateTime": stamp(b.seed.Day.AddDate(-2, 0, -i*9)),
		}
		if !sku.Free {
			sub["nextLifecycleDateTime"] = stamp(b.seed.Day.AddDate(0, 1+i*2, 3))
		}
		b.t.Subscriptions = append(b.t.Subscriptions, sub)
	}
}

// group adds a group with members; kind is "security", "unified", "dynamic",
// "mail" (mail-enabled security) or "role" (role-assignable).
func (b *builder) group(name, kind string, members ...m365sim.Member) string {
	id := b.guid()
	alias := fmt.Sprintf("group%d", len(b.t.Groups)+1)
	g := entity{"id": id, "displayName": b.name(name), "description": b.name("Members of " + name), "groupTypes": []string{},
		"securityEnabled": true, "mailEnabled": false, "mailNickname": alias, "createdDateTime": stamp(b.seed.Day.AddDate(-1, 0, -len(b.t.Groups))),
		"proxyAddresses": []string{}}
	switch kind {
	case "unified":
		g["groupTypes"], g["securityEnabled"] = []string{"Unified"}, false
		g["visibility"] = "Private"
	case "dynamic":
		g["groupTypes"] = []string{"DynamicMembership"}
		g["membershipRule"], g["membershipRuleProcessingState"] = `(user.accountEnabled -eq true)`, "On"
	case "role":
		g["isAssignableToRole"] = true
	}
	if kind == "unified" || kind == "mail" {
		g["mailEnabled"], g["mail"] = true, alias+"@"+b.t.DefaultDomain
		g["proxyAddresses"] = []string{"SMTP:" + alias + "@" + b.t.DefaultDomain}
	}
	b.t.Groups = append(b.t.Groups, g)
	if len(members) > 0 {
		b.t.Members[id] = members
	}
	return id
}

// role activates a directory role for the members.
func (b *builder) role(r roleTemplate, members ...m365sim.Member) {
	id := b.guid()
	b.t.Roles = append(b.t.Roles, entity{"id": id, "displayName": r.name, "description": "Can act as " + r.name + ".", "roleTemplateId": r.id})
	b.t.Members[id] = members
}

// refs returns members for the entities.
func refs(kind string, list ...entity) []m365sim.Member {
	var out []m365sim.Member
	for _, e := range list {
		out = append(out, m365sim.Member{Type: kind, ID: e.ID()})
	}
	return out
}

func some(rng *rand.Rand, list []entity, n int) []entity {
	var out []entity
	for _, i := range rng.Perm(len(list))[:min(n, len(list))] {
		out = append(out, list[i])
	}
	return out
}
