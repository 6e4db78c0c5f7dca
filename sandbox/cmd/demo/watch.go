package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/stack"
)

// longest is how long the demo waits for all tenants.
const longest = 5 * time.Minute

// watcher follows the syncs from outside: in CIPP's mapping rows and logbook,
// and in what reaches NinjaOne.
type watcher struct {
	stack *stack.Stack
	out   io.Writer
	ended map[string]string // tenant id to lastEndTime|lastStatus

	terminal bool // out is a terminal, so that a line can be drawn again
}

// row is what the demo reads of a mapping row or a line of the logbook.
type row struct {
	RowKey, Timestamp, Message string
	LastEndTime                string `json:"lastEndTime"`
	LastStatus                 string `json:"lastStatus"`
}

func (w *watcher) rows(ctx context.Context, table, filter string) ([]row, error) {
	var list []row
	pager := w.stack.Tables.NewClient(table).NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		var missing *azcore.ResponseError
		if errors.As(err, &missing) && missing.StatusCode == http.StatusNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, raw := range page.Entities {
			var r row
			if err := json.Unmarshal(raw, &r); err != nil {
				return nil, err
			}
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b row) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	return list, nil
}

// expected are the tenants whose sync must end: all mapped ones that are not
// excluded in CIPP.
func (w *watcher) expected() []string {
	var ids []string
	for _, m := range w.stack.Seed.Mappings {
		if !slices.Contains(w.stack.Seed.ExcludedTenants, m.TenantID) {
			ids = append(ids, m.TenantID)
		}
	}
	return ids
}

// mappingEnds returns when and how the tenant's last sync ended.
func (w *watcher) mappingEnds(ctx context.Context) (map[string]string, error) {
	rows, err := w.rows(ctx, "CippMapping", "PartitionKey ne 'NinjaOneFieldMapping'")
	if err != nil {
		return nil, err
	}
	ends := map[string]string{}
	for _, r := range rows {
		id := strings.ToLower(r.RowKey)
		if t := w.stack.Seed.Tenant(id); t != nil { // an old row, kept under the domain
			id = t.ID
		}
		if r.LastEndTime != "" && r.LastStatus != "Running" {
			ends[id] = r.LastEndTime + "|" + r.LastStatus
		}
	}
	return ends, nil
}

// follow prints each of the tenants as its sync ends, until all have.
func (w *watcher) follow(ctx context.Context, waiting []string) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	before, err := w.mappingEnds(ctx)
	if err != nil {
		return err
	}
	if len(w.ended) > 0 {
		before = w.ended
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	writes := -1
	for len(waiting) > 0 {
		if n := len(w.stack.NinjaOne.Writes()) + len(w.stack.NinjaOne.DocumentWrites()); n != writes {
			writes = n
			w.progress(fmt.Sprintf("  … %d writes accepted by NinjaOne, tenants to go: %d", writes, len(waiting)))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d tenants were not synced: %w", len(waiting), ctx.Err())
		case <-tick.C:
		}
		ends, err := w.mappingEnds(ctx)
		if err != nil {
			return err
		}
		waiting = slices.DeleteFunc(waiting, func(id string) bool {
			end := ends[id]
			if end == "" || end == before[id] {
				return false
			}
			w.ended[id] = end
			w.progress("")
			w.announce(ctx, id)
			return true
		})
	}
	w.progress("")
	return nil
}

// followUploads prints each scan group as its import ends, until all have of whose
// tenants anything is known. Then it has these tenants synced, so that their
// summaries show it.
func (w *watcher) followUploads(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	var waiting []string
	for _, id := range w.expected() {
		if w.stack.ScanGroupOf(id) != 0 && len(w.stack.OpenCVEs(id)) > 0 {
			waiting = append(waiting, id)
		}
	}
	tenants := slices.Clone(waiting)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the vulnerabilities of %d tenants were not uploaded: %w", len(waiting), ctx.Err())
		case <-tick.C:
		}
		groups := w.stack.NinjaOne.ScanGroups()
		waiting = slices.DeleteFunc(waiting, func(id string) bool {
			group := w.stack.ScanGroupOf(id)
			i := slices.IndexFunc(groups, func(g ninjasim.ScanGroup) bool { return g.ID == group })
			if uploads := w.stack.NinjaOne.Uploads(group); len(uploads) == 0 || groups[i].Status == ninjasim.ImportInProgress {
				return false
			}
			fmt.Fprintf(w.out, "  %-9s %-45s %d rows, open on %d devices\n", groups[i].Status, groups[i].Name, groups[i].Records, len(w.stack.NinjaOne.OpenCVEs(group)))
			return true
		})
	}
	fmt.Fprintln(w.out)
	for _, id := range tenants {
		if err := w.enqueue(ctx, id); err != nil {
			return err
		}
	}
	return w.follow(ctx, tenants)
}

// progress shows a passing text in place of the one before. It shows nothing where the
// output is not a terminal.
func (w *watcher) progress(text string) {
	if w.terminal {
		fmt.Fprint(w.out, "\r\033[K"+text)
	}
}

// announce prints the last line of the logbook about a tenant.
func (w *watcher) announce(ctx context.Context, id string) {
	t := w.stack.M365.Tenant(id)
	domain := t.DefaultDomain
	lines, err := w.rows(ctx, "CippLogs", fmt.Sprintf("Tenant eq '%s'", domain))
	last := "its lines in the logbook cannot be read"
	if err == nil && len(lines) > 0 {
		last = lines[len(lines)-1].Message
	}
	_, status, _ := strings.Cut(w.ended[id], "|")
	fmt.Fprintf(w.out, "  %-9s %-31s %s\n", status, domain, last)
}

// report prints what was written.
func (w *watcher) report() {
	n := w.stack.NinjaOne
	fmt.Fprintln(w.out, "\nNinjaOne now shows, by organization:")
	for _, o := range n.Organizations() {
		fields, devices, compliant, not := 0, 0, 0, 0
		for _, ours := range []string{"TenantLinks", "TenantSummary", "UsersSummary"} {
			if v, ok := n.OrganizationField(o.ID, w.stack.Seed.FieldMapping[ours]); ok && v.Text != "" {
				fields++
			}
		}
		for _, d := range n.Devices(o.ID) {
			if v, ok := n.DeviceField(d.ID, w.stack.Seed.FieldMapping["DeviceSummary"]); ok && v.Text != "" {
				devices++
			}
			switch v, _ := n.DeviceField(d.ID, w.stack.Seed.FieldMapping["DeviceCompliance"]); v.Text {
			case "Compliant":
				compliant++
			case "Non-Compliant":
				not++
			}
		}
		documents := 0
		for _, d := range n.Documents(o.ID) {
			if !d.Archived {
				documents++
			}
		}
		fmt.Fprintf(w.out, "  %4d %-30s %d fields, %3d of %3d devices (%d compliant, %d not), %3d documents\n",
			o.ID, o.Name, fields, devices, len(n.Devices(o.ID)), compliant, not, documents)
	}
	fmt.Fprintf(w.out, "The documents have %d relations, to each other and to devices.\n", len(n.Relations()))
	fmt.Fprintln(w.out, "\nCalls to NinjaOne:")
	calls := n.Calls()
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		fmt.Fprintf(w.out, "  %5d  %s\n", calls[name], name)
	}
}

// check runs every tenant once more and compares the result with what
// Microsoft 365 says. Nothing changed in between, so nothing may be written.
func (w *watcher) check(ctx context.Context) error {
	wrong := []string{}
	var completed []string
	for _, id := range w.expected() {
		_, status, _ := strings.Cut(w.ended[id], "|")
		want := "Completed"
		if w.stack.M365.Tenant(id).Login != 0 || w.stack.Seed.Organization(id) == missingOrganization(w.stack) {
			want = "Failed"
		}
		if status != want {
			wrong = append(wrong, fmt.Sprintf("the sync of tenant %s ended as %s, want %s", id, status, want))
		}
		if want == "Completed" {
			completed = append(completed, id)
		}
	}
	wrong = append(wrong, w.stack.Check(completed...)...)
	fmt.Fprintln(w.out, "\nEvery tenant once more, with nothing changed:")
	// The tenants that share an organization see each other from now on.
	for round := range 2 {
		w.stack.NinjaOne.ResetCounters()
		for _, id := range w.expected() {
			if err := w.enqueue(ctx, id); err != nil {
				return err
			}
		}
		if err := w.follow(ctx, w.expected()); err != nil {
			return err
		}
		writes := len(w.stack.NinjaOne.Writes()) + len(w.stack.NinjaOne.DocumentWrites())
		fmt.Fprintf(w.out, "Round %d: %d writes.\n", round+2, writes)
		if writes != 0 {
			wrong = append(wrong, fmt.Sprintf("%d writes although nothing changed", writes))
		}
	}
	wrong = append(wrong, w.stack.Check(completed...)...)
	if more := len(wrong) - 20; more > 0 {
		wrong = append(wrong[:20], fmt.Sprintf("and %d more", more))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the check found:\n  %s", strings.Join(wrong, "\n  "))
	}
	fmt.Fprintf(w.out, "\nChecked: %d tenants show what Microsoft 365 says, and no request broke a contract.\n", len(completed))
	return nil
}

// missingOrganization is the organization that a tenant is mapped to and NinjaOne does
// not have. It is 0 when there is none.
func missingOrganization(s *stack.Stack) int {
	for _, m := range s.Seed.Mappings {
		if !slices.ContainsFunc(s.Seed.Organizations, func(o ninjasim.Organization) bool { return o.ID == m.OrganizationID }) {
			return m.OrganizationID
		}
	}
	return 0
}

// enqueue puts a tenant's message on the queue, as the schedule does.
func (w *watcher) enqueue(ctx context.Context, tenantID string) error {
	return w.stack.Enqueue(ctx, "ninjaone-sync", fmt.Sprintf(`{"tenantId":%q,"force":false}`, tenantID))
}
