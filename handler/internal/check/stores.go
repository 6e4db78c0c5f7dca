package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// storage tries what the app does with its own account.
func (p *part) storage(ctx context.Context) {
	p.Checked = "tables, queues and blobs: made, written, leased, read and removed again; and which version wrote the state"
	p.layout(ctx)
	for _, s := range []struct {
		try                 func(context.Context) error
		role, what, meaning string
	}{
		{p.d.Own.TryTables, "Storage Table Data Contributor", "tables", "Nothing can be remembered: not what NinjaOne holds, nor how the runs went. Syncs fail."},
		{p.d.Own.TryQueues, "Storage Queue Data Contributor", "queues", "No sync, automap or compliance update starts."},
		{p.d.Own.TryBlobs, "Storage Blob Data Contributor", "blobs and their leases", "Syncs cannot keep apart from each other, so none runs; the console has nothing to compare with."},
	} {
		if err := s.try(ctx); err != nil {
			action := "Look at the account's name, network and firewall, and at the setting AzureWebJobsStorage."
			if storage.Refused(err) {
				action = "Give the app's identity the role " + s.role + " on its own storage account, or correct the key; a new role takes some minutes to count. Look at the account's firewall as well."
			}
			p.failed(ctx, fmt.Errorf("the app's own %s cannot be used as needed: %w", s.what, err), s.meaning, action)
		}
	}
}

// layout looks at whether a newer version of the app was here.
func (p *part) layout(ctx context.Context) {
	if layout.Newer(ctx, p.d.Own.Upto(layout.Version).Table(layout.TableName)) {
		p.problem("A newer version of this app has written its state.", "This version leaves it alone: it syncs nothing and changes nothing.", "Deploy the newer version again.")
	}
}

// meanings say what the lack of a table of CIPP's, or of the right on it, means. Where
// missing is "", a missing table means nothing.
var meanings = map[string]struct{ missing, unread, unwritten string }{
	"Extensionsconfig":   {"NinjaOne was never set up in CIPP, so nothing is synced.", "Nothing is synced.", "NinjaOne's settings can be saved in CIPP only, not through this app."},
	"CippMapping":        {"No tenant and no field is mapped, so nothing is synced.", "Nothing is synced.", "CIPP does not show how syncs went, and mappings can be saved in CIPP only."},
	"Tenants":            {"CIPP knows no tenant, so nothing is synced.", "Nothing is synced.", ""},
	"NinjaOneSettings":   {"", "CIPP's own sync is not held off: two engines write to NinjaOne.", "CIPP's own sync is not held off: two engines write to NinjaOne."},
	"webhookTable":       {"", "CIPP's own Graph subscriptions stay: it goes on writing the compliance field by another rule.", "CIPP's own Graph subscriptions stay: it goes on writing the compliance field by another rule."},
	"CippLogs":           {"", "The console cannot show the logbook.", "CIPP's logbook says nothing of this app."},
	"NinjaOneDeviceMap":  {"", "Syncs fail.", "Syncs fail."},
	"NinjaOneUserMap":    {"", "User documents are not written.", "User documents are not written."},
	"NinjaOneLicenseMap": {"", "Licence documents are not written.", "After a give-back, CIPP's own sync skips licences for up to a week."},
	"Config":             {"", "Links lead to no page of CIPP, and the logbook's days are by UTC.", ""},
	"tenantMode":         {"", "Tenants cannot be listed, so nothing is synced.", ""},
	"templates":          {"", "The standards are not shown.", ""},
	"ExcludedLicenses":   {"", "Syncs fail, since it is not known which licences CIPP leaves out.", ""},
	"CveExceptions":      {"", "No vulnerabilities are uploaded, since it is not known which are excepted.", ""},
	"CippReportingDB":    {"", "What CIPP has in its cache is missing from documents.", ""},
	"ScheduledTasks":     {"", "CIPP's page of sync jobs, routed to this app, lists NinjaOne's alone.", ""},
}

// cipp looks at each of CIPP's tables.
func (p *part) cipp(ctx context.Context) {
	tables, err := p.d.CIPP.Inspect(ctx)
	p.Checked = fmt.Sprintf("%d tables of CIPP", len(tables))
	for _, t := range tables {
		m := meanings[t.Name]
		switch {
		case t.Read != nil:
			p.problem(words.Sentence(t.Read.Error()), m.unread, storageAction(t.Read, "Storage Table Data Contributor"))
		case !t.Exists && m.missing != "":
			p.problem("CIPP's storage has no table "+t.Name+".", m.missing,
				"Check that CIPP_STORAGE is CIPP's account. If it is, set up and map NinjaOne in CIPP.")
		}
		if t.Write != nil && t.Read == nil {
			p.problem(words.Sentence(t.Write.Error()), m.unwritten, storageAction(t.Write, "Storage Table Data Contributor"))
		}
	}
	if err != nil {
		p.late()
		return
	}
	if p.world.err != nil && len(p.Findings) == 0 {
		p.failed(ctx, p.world.err, "Nothing is synced.", "Mend what it says.")
	}
}

func storageAction(err error, role string) string {
	if storage.Refused(err) {
		return "Give the app's identity the role " + role + " on CIPP's storage account, or a connection string with full rights on tables; look at the account's firewall as well. " +
			"Where a deployment ended with AuthorizationFailed or RoleAssignmentExists, Troubleshooting in the guide says what to do."
	}
	return "Look at the setting CIPP_STORAGE, and at the account's network and firewall."
}

// secrets reads each secret, and finds out whether the console may save one.
func (p *part) secrets(ctx context.Context) {
	names := []struct{ name, meaning, action string }{
		{cipp.SecretApplicationID, "No tenant gives a token.", "Finish CIPP's setup wizard."},
		{cipp.SecretApplicationSecret, "No tenant gives a token.", "Finish CIPP's setup wizard."},
		{cipp.SecretRefreshToken, "No tenant gives a token.", "Finish CIPP's setup wizard."},
		{cipp.SecretNinjaOne, "NinjaOne cannot be called.", "Save the NinjaOne settings in CIPP with the client secret."},
	}
	if p.d.Settings.Application {
		names = append(names[:2], names[3:]...)
	}
	var read []string
	for _, s := range names {
		read = append(read, s.name)
		if _, err := p.d.Secrets.Secret(ctx, s.name, true); err != nil {
			action := s.action
			if !errors.Is(err, cipp.ErrNoSecret) && !errors.Is(err, cipp.ErrNotSetUp) {
				action = "Give the app's identity the role Key Vault Secrets User on CIPP's Key Vault (cippKeyVaultPermissions in the deployment). Check CIPP_KEY_VAULT_URI and the vault's firewall."
				if p.d.Settings.Development {
					action = "Look at the table DevSecrets and the setting CIPP_STORAGE."
				}
			}
			p.failed(ctx, err, s.meaning, action)
		}
	}
	p.Checked = strings.Join(read, ", ")
	if c := access.FromEnvironment(p.d.Getenv); !c.PlatformAuth && !c.Development {
		return // nobody reaches the console
	}
	if err := p.d.Secrets.Storable(ctx); err != nil && ctx.Err() == nil {
		p.notice(words.Sentence(err.Error()), "The NinjaOne client secret can be saved in CIPP only, not on this app's console.",
			"Nothing, if that is how you work.")
	}
}

// maxSkew is how far clocks may differ. Services refuse tokens and signatures at some
// minutes more.
const maxSkew = 2 * time.Minute

// clock compares the local clock with those of storage and Microsoft.
func (p *part) clock(ctx context.Context) {
	var compared []string
	for _, s := range []struct {
		name string
		ask  func(context.Context) (time.Time, error)
	}{
		{"storage", p.d.Own.Clock}, {"Microsoft's sign-in service", p.loginClock},
	} {
		asked := p.d.Now()
		theirs, err := s.ask(ctx)
		answered := p.d.Now()
		if err != nil {
			continue // why it cannot be reached, another section says
		}
		compared = append(compared, s.name)
		// Their clock showed the time at some moment between the two, cut to
		// the second.
		ahead, behind := asked.Sub(theirs.Add(time.Second)), theirs.Sub(answered)
		if skew := max(ahead, behind); skew > maxSkew {
			direction := "behind"
			if ahead > 0 {
				direction = "ahead of"
			}
			p.problem(fmt.Sprintf("This machine's clock is %s %s the clock of %s.", skew.Round(time.Second), direction, s.name),
				"Tokens and signatures are refused, subscriptions end early, and the logbook has wrong times.",
				"Set the machine's clock. On Azure it is right by itself: then this check was run on another machine.")
		}
	}
	if len(compared) == 0 {
		p.Skipped = "neither storage nor Microsoft's sign-in service answers"
		return
	}
	p.Checked = "against " + strings.Join(compared, " and ")
}
