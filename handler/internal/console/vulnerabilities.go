package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/vulnerabilities"
	"cipp-ninjaone/handler/internal/words"
)

// CVEUploads uploads the tenants' files of vulnerabilities; *vulnerabilities.Worker is one.
type CVEUploads interface {
	UploadNow(ctx context.Context, tenantID string) error
	Confirm(ctx context.Context, tenantID string, since time.Time) error
	Preview(ctx context.Context, tenantID string) (vulnerabilities.Preview, error)
}

// cveRow is one tenant on the page of vulnerabilities.
type cveRow struct {
	ID, Name, Domain string
	Base             string // the console's address
	vulnerabilities.Status
	State chip
	Note  string // of the last file
	Next  turn
}

// Hidden is how many of the unmatched devices the page does not name.
func (r cveRow) Hidden() int { return max(0, r.Unmatched-len(r.Unknown)) }

type cvePage struct {
	Stopped string // why no file is sent; "" where files are sent
	Given   bool   // because CIPP's own engine does the syncs
	Search  string
	Only    string
	Shows   []option
	Rows    []cveRow
	Pager   pager
}

// vulnerabilities shows how the tenants' files stand.
func (c *Console) vulnerabilities(x *exchange) error { return c.showVulnerabilities(x, "") }

func (c *Console) showVulnerabilities(x *exchange, problem string) error {
	var (
		config  cipp.ExtensionConfig
		tenants roster.Roster
		files   map[string]vulnerabilities.Status
		given   bool
	)
	all, ctx := errgroup.WithContext(x.ctx())
	roster.Gather(ctx, all, c.CIPP.NinjaOneConfig, &config)
	roster.Gather(ctx, all, func(ctx context.Context) (roster.Roster, error) { return roster.Read(ctx, c.CIPP, c.Runs) }, &tenants)
	roster.Gather(ctx, all, c.CVEFiles.All, &files)
	roster.Gather(ctx, all, c.Engine.GivenBack, &given)
	if err := all.Wait(); err != nil {
		return err
	}
	p := cvePage{Stopped: words.Sentence(vulnerabilities.Stopped(config, given)), Given: config.CVESync && given, Search: x.value("q"), Only: x.value("show")}
	p.Shows = options(p.Only, "", "All tenants", "waits", "Waiting for a confirmation", "reason", "Not uploaded", "unmatched", "With devices that NinjaOne lacks")
	for _, t := range tenants.Tenants {
		s := files[t.ID]
		if !contains(p.Search, t.DisplayName, t.DefaultDomain, t.ID) || p.Only == "waits" && !s.Waits() ||
			p.Only == "reason" && s.Reason == "" || p.Only == "unmatched" && s.Unmatched == 0 {
			continue
		}
		row := cveRow{Base: x.base, ID: t.ID, Name: tenantName(t.Tenant), Domain: t.DefaultDomain, Status: s}
		row.State, row.Note = fileState(s)
		row.Next = c.nextFile(t, s, p)
		p.Rows = append(p.Rows, row)
	}
	byName(p.Rows, func(r cveRow) string { return r.Name })
	p.Rows, p.Pager = paged(x, p.Rows)
	return c.show(x, "vulnerabilities", "Vulnerabilities", problem, p)
}

// fileState says in one word what became of the last file, and what there is to
// say about it.
func fileState(s vulnerabilities.Status) (chip, string) {
	switch s.Import {
	case vulnerabilities.Sending:
		return chipOf("warn", "Not known"), cmp.Or(s.Trouble, "Whether NinjaOne has this file is not known. The next turn sends it again.")
	case vulnerabilities.InProgress:
		return chipOf("busy", "Import under way"), s.Trouble
	case vulnerabilities.Failed:
		return chipOf("bad", "Import failed"), s.Trouble
	case vulnerabilities.Complete:
		if s.Trouble != "" {
			return chipOf("warn", "Imported in part"), s.Trouble
		}
		return chipOf("good", "Imported"), ""
	}
	return chipOf("off", "None yet"), ""
}

// nextFile says when a tenant's file is looked at next.
func (c *Console) nextFile(t roster.Tenant, s vulnerabilities.Status, p cvePage) turn {
	switch {
	case p.Given:
		return turn{Text: "By CIPP"}
	case p.Stopped != "":
		return turn{Text: "Turned off"}
	case t.Paused:
		return turn{Text: "Paused"}
	case t.Run.LastSuccess.IsZero():
		return turn{Text: "After the tenant's first sync"}
	case s.Queued.After(s.Turn):
		return turn{Text: "Under way"}
	}
	return turnAt(vulnerabilities.Next(t.ID, s, c.Now()), c.Now())
}

// changeFile asks for a tenant's file now, or confirms the one that waits.
func (c *Console) changeFile(x *exchange) error {
	t, err := c.CIPP.Tenant(x.ctx(), x.value("tenant"))
	if err != nil {
		return c.showVulnerabilities(x, "Nothing was done: CIPP knows no such tenant.")
	}
	mapped, _, err := c.CIPP.Mapped(x.ctx())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(mapped, func(m cipp.MappedTenant) bool { return m.ID == t.ID }) {
		return c.showVulnerabilities(x, "Nothing was done: the tenant is not mapped to a NinjaOne organization.")
	}
	config, err := c.CIPP.NinjaOneConfig(x.ctx())
	if err != nil {
		return err
	}
	given, err := c.Engine.GivenBack(x.ctx())
	if err != nil {
		return err
	}
	if why := vulnerabilities.Stopped(config, given); why != "" {
		return c.showVulnerabilities(x, "Nothing was done: "+why)
	}
	change, notice, told := c.CVEUploads.UploadNow, "uploadasked", "The upload of vulnerabilities was asked for on the console."
	switch x.value("do") {
	default:
		return c.showVulnerabilities(x, "Nothing was done: choose what to do.")
	case "upload":
	case "confirm":
		status, err := c.CVEFiles.Of(x.ctx(), t.ID)
		switch {
		case err != nil:
			return err
		case !status.Waits():
			return c.showVulnerabilities(x, "Nothing waits for a confirmation for this tenant any more.")
		case x.value("rows") != strconv.Itoa(status.WaitingRows):
			return c.showVulnerabilities(x, "Nothing was confirmed: the file has changed since the page was read. Look at it again.")
		}
		change, notice = func(ctx context.Context, tenantID string) error {
			return c.CVEUploads.Confirm(ctx, tenantID, status.WaitingSince)
		}, "fileconfirmed"
		told = fmt.Sprintf("A file of vulnerabilities of %s was confirmed; the last one has %d.", plural(status.WaitingRows, "row", "rows"), status.Replaced())
	}
	if err := change(x.ctx(), t.ID); err != nil {
		return err
	}
	c.audit(x, "a file of vulnerabilities was asked for on the console", "tenant", t.ID, "do", x.value("do"))
	c.CIPP.Note(x.ctx(), cipp.LogEntry{Tenant: t.DefaultDomain, TenantID: t.ID, API: cipp.LogbookSync, Message: told})
	return x.done("vulnerabilities", notice, 0, "q", x.value("q"), "show", x.value("show"))
}

type cvePreviewPage struct {
	choice
	Waiting string // why nothing is shown yet; "" when there is no wait
	Preview *vulnerabilities.Preview
	State   chip
	Lists   []cveDifference
}

// cveDifference is what a file has more, or less, than the last one.
type cveDifference struct {
	ID, Title string
	Removed   bool
	N         int
	Rows      []vulnerabilities.Row
}

// More is how many rows the page does not list.
func (d cveDifference) More() int { return d.N - len(d.Rows) }

var verdicts = map[vulnerabilities.Verdict]chip{
	vulnerabilities.Upload:  chipOf("busy", "Would be uploaded"),
	vulnerabilities.Nothing: chipOf("good", "NinjaOne has the same file"),
	vulnerabilities.Wait:    chipOf("warn", "Would wait for a confirmation"),
	vulnerabilities.Refuse:  chipOf("bad", "Nothing would be sent"),
}

// previewFile shows what the next file of a tenant would be.
func (c *Console) previewFile(x *exchange) error {
	chosen, err := c.choose(x)
	if err != nil {
		return err
	}
	p := cvePreviewPage{choice: chosen}
	show := func(problem string) error {
		return c.show(x, "filepreview", "Vulnerabilities: preview", problem, p)
	}
	if p.Tenant == "" {
		return show("")
	}
	preview, err := c.files.get(x.ctx(), p.Tenant, x.value("fresh") != "")
	if waiting, ok := errors.AsType[waitingError](err); ok {
		p.Waiting = waiting.Error()
		x.askAgain()
		return show("")
	}
	if err != nil {
		return show("Nothing can be shown. " + words.Sentence(err.Error()))
	}
	p.Preview, p.State = &preview, verdicts[preview.Verdict]
	if !preview.NoLast {
		p.Lists = []cveDifference{
			{"removed", "No longer in the file, so NinjaOne would count them as remediated", true, preview.Removed, preview.FirstRemoved},
			{"added", "New in the file", false, preview.Added, preview.FirstAdded},
		}
	}
	return show("")
}
