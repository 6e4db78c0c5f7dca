package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// losses say which cards show each part of a tenant, by the words of m365.Permissions.
// Those cards say that they lack it.
var losses = map[string]string{
	"Organization":                   "the tenant's record on the Tenant Summary",
	"Domains":                        "the domains on the Tenant Summary",
	"Users":                          "the User Summary, the user documents, and who uses a device",
	"Groups":                         "groups on user documents and device summaries, and whom Conditional Access covers",
	"Directory roles":                "administrators on the Tenant Summary and user documents",
	"Licences":                       "licences everywhere, and the licence documents",
	"Subscriptions":                  "renewal dates of licences",
	"Intune devices":                 "every device field and the compliance field, which stay as they are",
	"Entra devices":                  "links of devices to Entra, their groups, and prompt compliance changes",
	"Compliance policies of devices": "which compliance policies fail, on the device summary",
	"Conditional Access":             "Conditional Access on the Tenant Summary and user documents",
	"User consent":                   "the setting of user consent on the Tenant Summary",
	"Secure score":                   "the secure score on the Tenant Summary",
	"Mailbox usage":                  "mailbox sizes of users",
	"OneDrive usage":                 "OneDrive sizes of users",
	"Concealment of usage reports":   "the reason why names in usage reports are hidden",
	"Last sign-in of users":          "the last sign-in of users",
	"Mailbox settings":               "mailbox settings of users",
	"Mailbox protocols":              "which mail protocols users may use",
	"Unified audit log":              "the audit log's state on the Tenant Summary",
	"Restricted senders":             "blocked senders on the Tenant Summary",
	"Vulnerabilities":                "uploads of vulnerabilities, unless CIPP's cache of them serves",
}

// tenants signs in to every selected tenant, two or three calls each. It compares the
// tokens' permissions with what the app needs. It also reads a tenant that the options
// name.
func (p *part) tenants(ctx context.Context) {
	if p.unreadable() {
		return
	}
	mapped := p.world.mapped
	selected := mapped
	if p.o.Tenant != "" {
		one, _ := cipp.Named(p.world.tenants, p.o.Tenant)
		selected = []cipp.MappedTenant{{Tenant: one}}
		p.standing(one, mapped)
	} else {
		selected = selected[min(max(p.o.From, 0), len(selected)):]
		if p.o.Tenants > 0 {
			selected = selected[:min(p.o.Tenants, len(selected))]
		}
	}
	results := make([]outcome, len(selected))
	var group errgroup.Group
	group.SetLimit(tenantsAtOnce)
	for i, t := range selected {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			bounded, cancel := context.WithTimeout(ctx, tenantTime)
			defer cancel()
			access, err := p.d.Graph.Access(bounded, t.Ref)
			if err == nil && p.world.config.CVESync {
				// That a tenant gives no token for Defender, its uploads explain.
				if missing, refused := p.d.Graph.DefenderAccess(bounded, t.Ref); refused == nil && missing != nil {
					access.Missing = append(access.Missing, *missing)
				}
			}
			results[i] = outcome{err == nil || ctx.Err() == nil, access, err}
			return nil
		})
	}
	_ = group.Wait() // no task returns an error
	done := 0
	for i, t := range selected { // in CIPP's order, whatever came first
		if results[i].known {
			done++
			p.access(t.Tenant, results[i])
		}
	}
	calls := 2
	if p.world.config.CVESync {
		calls = 3
	}
	p.Checked = fmt.Sprintf("the sign-in and the permissions of %d of %d mapped tenants, %d calls each", done, len(mapped), calls)
	if p.o.Tenant != "" {
		p.Checked = "the sign-in, the permissions, and a reading of the whole tenant"
		if results[0].known && results[0].err == nil {
			p.read(ctx, selected[0].Tenant)
		}
	}
	if done < len(selected) {
		p.late()
	}
}

// outcome is what a tenant's tokens told.
type outcome struct {
	known  bool
	access m365.Access
	err    error
}

// standing says how CIPP counts the one tenant that is asked for.
func (p *part) standing(t cipp.Tenant, mapped []cipp.MappedTenant) {
	switch {
	case t.Excluded:
		p.notice("The tenant is excluded in CIPP.", "It is not synced, and what NinjaOne shows of it stays as it is.", "Include it in CIPP if it is to be synced.", t.DefaultDomain)
	case !slices.ContainsFunc(mapped, func(m cipp.MappedTenant) bool { return m.ID == t.ID }):
		p.problem("The tenant is mapped to no NinjaOne organization.", "It is not synced.", "Map it in CIPP under Integrations, NinjaOne, or on this app's console.", t.DefaultDomain)
	}
}

// cpv is what to do about a permission that is missing.
const cpv = "Run CIPP's permission check with a CPV refresh for the tenant."

func (p *part) access(t cipp.Tenant, o outcome) {
	if o.err != nil {
		if refusal, ok := errors.AsType[*m365.AuthError](o.err); ok {
			p.problem("The tenant gives no token: "+refusal.Meaning+code(refusal.Code)+".", "Nothing of it is read; its syncs fail.", words.Sentence(refusal.Action), t.DefaultDomain)
		} else if errors.Is(o.err, context.DeadlineExceeded) {
			p.problem("Microsoft's sign-in service did not answer in time for the tenant.", "Its syncs may fail.", "Run the check again.", t.DefaultDomain)
		} else {
			p.problem(words.Sentence(withoutTenant(o.err, t.ID)), "The tenant gives no token; its syncs fail.", "Look at the section on secrets and the endpoints among the settings.", t.DefaultDomain)
		}
		return
	}
	exchange := lossOf("Mailbox settings", "Mailbox protocols", "Unified audit log", "Restricted senders")
	switch refusal, ok := errors.AsType[*m365.AuthError](o.access.ExchangeError); {
	case o.access.ExchangeError == nil, m365.ServiceMissing(o.access.ExchangeError):
	case ok:
		p.problem("The tenant gives no token for Exchange Online: "+refusal.Meaning+code(refusal.Code)+".", exchange, words.Sentence(refusal.Action), t.DefaultDomain)
	default:
		p.problem(words.Sentence(withoutTenant(o.access.ExchangeError, t.ID)), exchange, "Run the check again.", t.DefaultDomain)
	}
	for _, service := range o.access.Silent {
		p.notice("The token of "+service+" does not tell which permissions it carries.", "Which of them are missing shows only when the tenant is read: on its cards, or here with -tenant.", "", t.DefaultDomain)
	}
	// One permission may serve several parts, and is missed once.
	byPermission := map[string][]string{}
	var order []string
	for _, m := range o.access.Missing {
		key := m.Service + ": " + m.Least(p.d.Settings.Application)
		if byPermission[key] == nil {
			order = append(order, key)
		}
		byPermission[key] = append(byPermission[key], m.Part)
	}
	for _, key := range order {
		service, name, _ := strings.Cut(key, ": ")
		p.problem("The app lacks "+name+" of "+service+".", lossOf(byPermission[key]...), cpv, t.DefaultDomain)
	}
}

func code(c string) string {
	if c == "" {
		return ""
	}
	return " (" + c + ")"
}

func lossOf(parts ...string) string {
	var list []string
	for _, part := range parts {
		if loss := losses[part]; !slices.Contains(list, loss) {
			list = append(list, loss)
		}
	}
	return "Without it: " + strings.Join(list, "; ") + "."
}

// withoutTenant lets the same failure of several tenants read the same.
func withoutTenant(err error, id string) string {
	return strings.ReplaceAll(err.Error(), id, "…")
}

// readTime bounds the reading of one tenant.
const readTime = 5 * time.Minute

// read reads the tenant as a sync would: what its tokens promise, its services
// may refuse all the same.
func (p *part) read(ctx context.Context, t cipp.Tenant) {
	bounded, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	snapshot, err := p.d.Graph.Read(bounded, t.Ref, nil)
	if err != nil {
		p.failed(bounded, err, "The tenant's syncs fail.", "Do what the sections above say; else run the check again.")
		return
	}
	for _, a := range snapshot.Absent() {
		what := fmt.Sprintf("Not read: %s. %s", a.Name, words.Sentence(a.Reason))
		if a.Expected {
			p.notice(what, "The tenant does not have it, or hides it on purpose. That is a matter of its licences and settings, not of permissions.", "", t.DefaultDomain)
			continue
		}
		action := "Run the check again. If it lasts, ask Microsoft with the words above."
		switch a.Cause {
		case tenant.CausePermission:
			action = cpv
		case tenant.CauseRole:
			action = "Look at the GDAP roles of CIPP's service account in the tenant."
		}
		p.problem(what, "Its card says so, and shows nothing of it.", action, t.DefaultDomain)
	}
}
