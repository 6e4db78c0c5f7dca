package console

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

type organizationRow struct {
	ID, Name, Domain string
	Value            string // what the form's field holds
	Was              int    // the organization that the tenant is mapped to; 0 for none
	Problem          string
	Suggestion       *automap.Suggestion // what the last automap found for a tenant without decision
}

type organizationsPage struct {
	Rows          []organizationRow
	Organizations []string // as the form's fields take them
	Readable      bool
	Search, Show  string
	Shows         []option
	Pager         pager
	Mapped, Open  int
	Report        automap.Report
	Unmatched     []automap.Unmatched
	Progress      progressText
	Finished      string // of the last report, for the page's script
}

// choiceText is how an organization is written in the form: with its id, which
// alone counts.
func choiceText(name string, id int) string { return fmt.Sprintf("%s [%d]", name, id) }

var choicePattern = regexp.MustCompile(`\[(\d{1,9})\]\s*$`)

func (c *Console) organizations(x *exchange) error { return c.showOrganizations(x, "", nil) }

func (c *Console) showOrganizations(x *exchange, problem string, edits map[string]string) error {
	ctx := x.ctx()
	tenants, err := c.CIPP.Tenants(ctx)
	if err != nil {
		return err
	}
	mappings, err := c.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return err
	}
	report, err := automap.ReadReport(ctx, c.Blobs)
	if err != nil {
		return err
	}
	p := organizationsPage{Search: x.value("q"), Show: x.value("show"), Report: report}
	p.Shows = options(p.Show, "", "All tenants", "open", "Without organization", "suggested", "With suggestions", "mapped", "Mapped")
	p.Finished = endOf(report)
	if x.r.URL.Query().Get("done") == "automap" {
		p.Finished = x.value("before") // the search that was asked for may have ended by now
	}
	if p.Progress, err = c.progressOf(ctx); err != nil {
		return err
	}
	organizations, err := c.organizationList(ctx)
	if err != nil && problem == "" {
		problem = "The organizations could not be read from NinjaOne, so that nothing can be mapped now. " + words.Sentence(err.Error())
	}
	p.Readable = err == nil
	for _, o := range organizations {
		p.Organizations = append(p.Organizations, choiceText(o.Name, o.ID))
	}
	mapped := map[string]cipp.OrganizationMapping{}
	for _, m := range mappings {
		mapped[m.TenantID] = m
	}
	suggested := map[string]*automap.Suggestion{}
	for i, s := range report.Suggestions {
		suggested[s.Tenant.ID] = &report.Suggestions[i]
	}
	for _, t := range tenants {
		m := mapped[t.ID]
		row := organizationRow{ID: t.ID, Name: tenantName(t), Domain: t.DefaultDomain, Was: m.OrganizationID, Problem: m.Problem}
		if m.OrganizationID != 0 {
			p.Mapped++
			name := m.OrganizationName
			if i := slices.IndexFunc(organizations, func(o ninjaone.Organization) bool { return o.ID == m.OrganizationID }); i >= 0 {
				name = organizations[i].Name
			} else if p.Readable {
				row.Problem = fmt.Sprintf("NinjaOne has no organization %d any more: map the tenant to another one.", m.OrganizationID)
			}
			row.Value = choiceText(name, m.OrganizationID)
		} else {
			p.Open++
			row.Suggestion = suggested[t.ID]
		}
		if e, ok := edits[t.ID]; ok {
			row.Value = e
		}
		if !contains(p.Search, t.DisplayName, t.DefaultDomain, t.ID, row.Value) ||
			(p.Show == "open" && row.Was != 0) || (p.Show == "mapped" && row.Was == 0) || (p.Show == "suggested" && row.Suggestion == nil) {
			continue
		}
		p.Rows = append(p.Rows, row)
	}
	byName(p.Rows, func(r organizationRow) string { return r.Name })
	for _, u := range report.Unmatched {
		if mapped[u.Tenant.ID].OrganizationID == 0 {
			p.Unmatched = append(p.Unmatched, u)
		}
	}
	p.Rows, p.Pager = paged(x, p.Rows)
	return c.show(x, "organizations", "Organizations", problem, p)
}

func (c *Console) organizationList(ctx context.Context) ([]ninjaone.Organization, error) {
	list, err := c.Settings.Organizations(ctx)
	slices.SortFunc(list, func(a, b ninjaone.Organization) int { return cmp.Compare(a.ID, b.ID) })
	byName(list, func(o ninjaone.Organization) string { return o.Name })
	return list, err
}

func evidenceText(e match.OrganizationEvidence) string {
	var parts []string
	switch e.Name {
	case match.NameExact:
		parts = append(parts, "the same name")
	case match.NameSimilar:
		parts = append(parts, "the same name apart from case, punctuation, accents and legal form")
	}
	if e.Devices > 0 {
		text := fmt.Sprintf("%d of %s", e.Devices, plural(e.Of, "shared device", "shared devices"))
		if len(e.Serials) > 0 {
			text += " (serial numbers " + strings.Join(e.Serials, ", ") + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// saveOrganizations saves the rows of the form that were changed, and leaves
// every other tenant as it is.
func (c *Console) saveOrganizations(x *exchange) error {
	edits := map[string]string{}
	for name := range x.r.PostForm {
		if id, ok := strings.CutPrefix(name, "organization:"); ok {
			edits[id] = x.value(name)
		}
	}
	if id := x.value("map"); id != "" { // a suggestion's button
		tenantID, value, _ := strings.Cut(id, "|")
		edits[tenantID] = value
	}
	organizations, err := c.organizationList(x.ctx())
	if err != nil {
		return c.showOrganizations(x, "Nothing was saved: the organizations could not be read from NinjaOne. "+words.Sentence(err.Error()), edits)
	}
	var choices []cipp.OrganizationChoice
	for id, text := range edits {
		was, _ := strconv.Atoi(x.value("was:" + id))
		choice := cipp.OrganizationChoice{TenantID: id, Seen: was}
		if text != "" {
			o, ok := organizationNamed(organizations, text)
			if !ok {
				// An organization that is gone from NinjaOne may stay as it is.
				if m := choicePattern.FindStringSubmatch(text); m != nil && m[1] == strconv.Itoa(was) {
					continue
				}
				return c.showOrganizations(x, fmt.Sprintf("Nothing was saved: %q is not an organization of NinjaOne. Choose one from the list.", text), edits)
			}
			choice.OrganizationID, choice.Name = o.ID, o.Name
		}
		if choice.OrganizationID != was {
			choices = append(choices, choice)
		}
	}
	if len(choices) == 0 {
		return x.done("organizations", "same", 0, "q", x.value("q"), "show", x.value("show"))
	}
	changes, overtaken, err := c.Settings.MapOrganizations(x.ctx(), choices)
	if err != nil {
		return c.showOrganizations(x, words.Sentence(err.Error()), edits)
	}
	if len(overtaken) > 0 {
		return c.showOrganizations(x, fmt.Sprintf("%s not saved, because somebody else changed %s meanwhile. The page shows what is stored now.",
			plural(len(overtaken), "mapping was", "mappings were"), map[bool]string{true: "it", false: "them"}[len(overtaken) == 1]), nil)
	}
	return x.done("organizations", "mapped", changes.Added+changes.Changed+changes.Removed, "q", x.value("q"), "show", x.value("show"))
}

// organizationNamed finds the organization that a person chose from the list. It takes a
// full name, too, where only one organization has it.
func organizationNamed(list []ninjaone.Organization, text string) (ninjaone.Organization, bool) {
	if m := choicePattern.FindStringSubmatch(text); m != nil {
		id, _ := strconv.Atoi(m[1])
		if i := slices.IndexFunc(list, func(o ninjaone.Organization) bool { return o.ID == id }); i >= 0 {
			return list[i], true
		}
	}
	var found []ninjaone.Organization
	for _, o := range list {
		if strings.EqualFold(strings.TrimSpace(o.Name), text) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		return ninjaone.Organization{}, false
	}
	return found[0], true
}

func (c *Console) automap(x *exchange) error {
	last, err := automap.ReadReport(x.ctx(), c.Blobs)
	if err != nil {
		return err
	}
	if err := c.Settings.StartAutomap(x.ctx()); err != nil {
		return c.showOrganizations(x, "The search could not be started. "+words.Sentence(err.Error()), nil)
	}
	return x.done("organizations", "automap", 0, "before", endOf(last))
}

// endOf is when the last search ended, for the page's script; "" for never.
func endOf(r automap.Report) string {
	if r.Finished.IsZero() {
		return ""
	}
	return r.Finished.UTC().Format(time.RFC3339Nano)
}

// progressText is how far an automap has come.
type progressText struct {
	Running  bool   `json:"running"`
	Text     string `json:"text"`
	Finished string `json:"finished"` // when the last one ended; "" for never
}

func (c *Console) progressOf(ctx context.Context) (progressText, error) {
	p, running, err := automap.ReadProgress(ctx, c.Blobs)
	if err != nil || !running || c.Now().Sub(p.Updated) > 2*time.Hour {
		return progressText{}, err
	}
	text := fmt.Sprintf("A search for organizations is under way: %d mapped so far", len(p.Mapped))
	if p.Tenants > 0 {
		text += fmt.Sprintf(", devices of %d of %d tenants compared", len(p.Read), p.Tenants)
	}
	return progressText{Running: true, Text: text + "."}, nil
}

// progress tells the page's script how far the automap has come.
func (c *Console) progress(x *exchange) error {
	p, err := c.progressOf(x.ctx())
	if err != nil {
		return err
	}
	report, err := automap.ReadReport(x.ctx(), c.Blobs)
	if err != nil {
		return err
	}
	p.Finished = endOf(report)
	x.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(x.w).Encode(p)
}
