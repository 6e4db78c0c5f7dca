package console

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/console/textdiff"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/words"
)

type previewPage struct {
	choice
	Name     string
	At       time.Time
	Shared   bool
	Problems []string
	Theme    string
	Themes   []option
	Waiting  string // why nothing is shown yet; "" when there is no wait
	Write    int    // fields that a sync would send
	View     string // "" for the organization, devices or documents
	Parts    []previewPart

	// One of these is shown.
	Fields    []previewField // of the organization or the device
	Device    *tenantsync.PreviewTarget
	Document  *documentPage
	Devices   []deviceLine
	Documents documentsPage

	Search string
	Only   string // "changes", or an outcome of documents; "" for all
	Shows  []option
	Pager  pager
}

// previewPart leads to a part of the preview.
type previewPart struct {
	Title, Address string
	Current        bool
}

type previewField struct {
	tenantsync.PreviewField
	Title   string
	State   chip
	Frame   string // address of the value; "" when there is none to show in a frame
	Text    string // the value, where it is plain text
	Changes []textdiff.Line
	Hidden  bool // it differs in markup alone
	Compare bool // the last value is known
	Unsure  bool // whether NinjaOne took the last value is not known
	NotKept bool // something was written, and is not kept
}

type deviceLine struct {
	ID     int
	Name   string
	States []chip
	Note   string
}

// address is the preview's own address with further parameters, by pairs.
func (p *previewPage) address(x *exchange, page string, pairs ...string) string {
	q := url.Values{"tenant": {p.Tenant}}
	if p.Theme != "" {
		q.Set("theme", p.Theme)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return x.base + "/" + page + "?" + q.Encode()
}

// askAgain makes the browser load the page again in some seconds. The preview
// that is under way by then is the new one.
func (x *exchange) askAgain() {
	q := x.r.URL.Query()
	q.Del("fresh")
	again := url.URL{Path: x.base + "/" + x.page, RawQuery: q.Encode()}
	x.w.Header().Set("Refresh", "5; url="+again.String())
}

// preview shows what a sync of a tenant would write now.
func (c *Console) preview(x *exchange) error {
	chosen, err := c.choose(x)
	if err != nil {
		return err
	}
	p := previewPage{choice: chosen, Theme: themeOf(x), Search: x.value("q"), View: x.value("view"), Only: x.value("only")}
	p.Themes = options(p.Theme, "", "As this device", "light", "Light", "dark", "Dark")
	if p.Tenant == "" {
		return c.show(x, "preview", "Preview", "", p)
	}
	preview, err := c.previews.get(x.ctx(), p.Tenant, x.value("fresh") != "")
	if waiting, ok := errors.AsType[waitingError](err); ok {
		p.Waiting = waiting.Error()
		x.askAgain()
		return c.show(x, "preview", "Preview", "", p)
	}
	if err != nil {
		return c.show(x, "preview", "Preview", "Nothing can be shown. "+words.Sentence(err.Error()), p)
	}
	p.Name, p.At, p.Shared, p.Problems = preview.Tenant.DisplayName, preview.At, preview.Shared, preview.Problems
	device, _ := strconv.Atoi(x.value("device"))
	if device != 0 {
		p.View = "devices"
	} else if x.value("document") != "" {
		p.View = "documents"
	}
	changing := 0
	for i, t := range preview.Targets {
		line := deviceLine{ID: t.DeviceID, Name: t.Name}
		writes := 0
		for _, f := range t.Fields {
			if f.Outcome == tenantsync.OutcomeNew || f.Outcome == tenantsync.OutcomeChanged || f.Outcome == tenantsync.OutcomeCleared {
				writes++
			}
			line.States = append(line.States, outcomeChip(f.Outcome))
		}
		p.Write += writes
		if t.Unmatched {
			line.Note = "No longer matched: its fields are cleared."
		}
		if t.DeviceID != 0 && writes > 0 {
			changing++
		}
		if t.DeviceID != 0 && contains(p.Search, t.Name, strconv.Itoa(t.DeviceID)) && (p.Only == "" || writes > 0) {
			p.Devices = append(p.Devices, line)
		}
		if t.DeviceID == device {
			if p.Fields, err = c.fieldsOf(x, &p, preview, t); err != nil {
				return err
			}
			if device != 0 {
				p.Device = &preview.Targets[i]
			}
		}
	}
	p.Documents = documentsOf(preview)
	p.Parts = []previewPart{
		{"Organization", p.address(x, "preview"), p.View == ""},
		{fmt.Sprintf("Devices (%d, %d to write)", max(0, len(preview.Targets)-1), changing), p.address(x, "preview", "view", "devices"), p.View == "devices"},
		{p.Documents.Title, p.address(x, "preview", "view", "documents"), p.View == "documents"},
	}
	switch p.View {
	case "devices":
		p.Shows = options(p.Only, "", "All devices", "changes", "With fields to write")
		p.Devices, p.Pager = paged(x, p.Devices)
	case "documents":
		if err := p.fillDocuments(x, preview); err != nil {
			return c.show(x, "preview", "Preview", "The document cannot be shown. "+words.Sentence(err.Error()), p)
		}
	}
	return c.show(x, "preview", "Preview", "", p)
}

func themeOf(x *exchange) string {
	if t := x.value("theme"); t == "light" || t == "dark" {
		return t
	}
	return ""
}

var fieldTitles = func() map[string]string {
	titles := map[string]string{}
	for _, f := range settings.Fields {
		titles[f.Name] = f.Title
	}
	return titles
}()

// isText reports whether a field is not HTML.
func isText(field string) bool {
	return field == assignments.FieldName || field == assignments.SettingsName
}

// fieldsOf compares the fields of a target with what NinjaOne last accepted. Of a shared
// organization it shows this tenant's section alone, beside that of the last sync.
func (c *Console) fieldsOf(x *exchange, p *previewPage, preview *tenantsync.Preview, t tenantsync.PreviewTarget) ([]previewField, error) {
	kept := map[string]ledger.Value{}
	if t.DeviceID != 0 || !preview.Shared {
		var err error
		if kept, err = c.Ledger.Values(x.ctx(), ledger.Organization{Instance: preview.Instance, ID: preview.OrganizationID}, t.DeviceID); err != nil {
			return nil, err
		}
	}
	var list []previewField
	for _, f := range t.Fields {
		v := previewField{PreviewField: f, Title: cmp.Or(fieldTitles[f.Field], "Not mapped any more"), State: outcomeChip(f.Outcome)}
		last, known := f.Last, f.HaveLast && preview.Shared
		if value, ok := kept[f.NinjaOne]; ok && f.NinjaOne != "" {
			last, known, v.Unsure = value.Text, true, !value.Certain
		}
		switch {
		case isText(f.Field):
			v.Text = f.Value
		case f.Value != "":
			pairs := []string{"field", f.Field}
			if t.DeviceID != 0 {
				pairs = append(pairs, "device", strconv.Itoa(t.DeviceID))
			}
			v.Frame = p.address(x, "preview/value", pairs...)
		}
		v.Compare = known && f.NinjaOne != ""
		v.NotKept = !known && (f.Outcome == tenantsync.OutcomeChanged || f.Outcome == tenantsync.OutcomeCleared)
		if v.Compare && last != f.Value {
			v.Changes = textdiff.Diff(textdiff.Lines(last), textdiff.Lines(f.Value))
			v.Hidden = len(v.Changes) == 0
		}
		list = append(list, v)
	}
	return list, nil
}

func outcomeChip(outcome string) chip {
	switch outcome {
	case tenantsync.OutcomeUnchanged:
		return chipOf("good", "Unchanged")
	case tenantsync.OutcomeNew:
		return chipOf("busy", "Would be written")
	case tenantsync.OutcomeChanged:
		return chipOf("busy", "Would be rewritten")
	case tenantsync.OutcomeCleared:
		return chipOf("warn", "Would be cleared")
	case tenantsync.OutcomeUnmapped:
		return chipOf("off", "Not mapped")
	}
	return chipOf("off", "Empty")
}

// valuePolicy is for the document that shows one composed value. The document may style
// itself, and do nothing else.
const valuePolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"

// previewValue serves one composed value as a document of its own.
func (c *Console) previewValue(x *exchange) error {
	chosen, err := c.choose(x)
	if err != nil {
		return err
	}
	if chosen.Tenant == "" {
		return notFound("no such tenant is mapped to NinjaOne")
	}
	preview, err := c.previews.get(x.ctx(), chosen.Tenant, false)
	if err != nil {
		return err
	}
	title, value, err := previewed(x, preview)
	if err != nil {
		return err
	}
	style, err := files.ReadFile("static/value.css")
	if err != nil {
		return err
	}
	x.w.Header().Set("Content-Security-Policy", valuePolicy)
	return c.render(x, 200, "value", view{Title: title, Page: struct {
		Style template.CSS
		Theme string
		// Value was made by package compose, whose templates escape what
		// comes from the tenant.
		Value template.HTML
	}{template.CSS(style), themeOf(x), template.HTML(value)}})
}

var errNoValue = notFound("there is no such value in the preview")

// previewed finds the value that is asked for, of a field or of a document.
func previewed(x *exchange, preview *tenantsync.Preview) (title, value string, err error) {
	field := x.value("field")
	if x.value("document") != "" {
		return previewedDocument(preview, x.value("document"), field)
	}
	device, _ := strconv.Atoi(x.value("device"))
	t := slices.IndexFunc(preview.Targets, func(t tenantsync.PreviewTarget) bool { return t.DeviceID == device })
	if t < 0 || isText(field) {
		return "", "", errNoValue
	}
	f := slices.IndexFunc(preview.Targets[t].Fields, func(f tenantsync.PreviewField) bool { return f.Field == field })
	if f < 0 {
		return "", "", errNoValue
	}
	return fieldTitles[field], preview.Targets[t].Fields[f].Value, nil
}
