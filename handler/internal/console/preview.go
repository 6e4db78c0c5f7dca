package console

import (
	"context"
	"errors"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"cipp-ninjaone/handler/internal/tenantsync"
)

const (
	// previewLife is how long a preview is shown before it is composed anew.
	previewLife = 10 * time.Minute
	// previewsKept bounds the memory that previews take.
	previewsKept = 3
)

// previewCache keeps the last previews, so that the fields on one page are read
// from Microsoft 365 once.
type previewCache struct {
	group singleflight.Group
	mu    sync.Mutex
	kept  map[string]*tenantsync.Preview
}

// previewOf returns a tenant's preview; fresh composes it anew.
func (c *Console) previewOf(ctx context.Context, tenantID string, fresh bool) (*tenantsync.Preview, error) {
	cache := &c.previews
	cache.mu.Lock()
	kept := cache.kept[tenantID]
	cache.mu.Unlock()
	if kept != nil && !fresh && c.Now().Sub(kept.At) < previewLife {
		return kept, nil
	}
	v, err, _ := cache.group.Do(tenantID, func() (any, error) {
		// Several requests wait for it, so that none of them may end it alone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		p, err := c.Preview.Preview(ctx, tenantID)
		if err != nil {
			return nil, err
		}
		cache.mu.Lock()
		defer cache.mu.Unlock()
		if cache.kept == nil {
			cache.kept = map[string]*tenantsync.Preview{}
		}
		cache.kept[tenantID] = p
		for len(cache.kept) > previewsKept {
			oldest := tenantID
			for id, k := range cache.kept {
				if k.At.Before(cache.kept[oldest].At) {
					oldest = id
				}
			}
			delete(cache.kept, oldest)
		}
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*tenantsync.Preview), nil
}

type previewPage struct {
	Tenants  []option
	Tenant   string
	Domain   string
	Name     string
	At       time.Time
	Shared   bool
	Problems []string
	Device   *tenantsync.PreviewTarget // nil for the organization's page
	Fields   []previewField            // of the organization or the device
	Devices  []deviceLine
	Pager    pager
	Write    int // fields that a sync would send
	Theme    string
	Themes   []option
	Search   string
}

type previewField struct {
	tenantsync.PreviewField
	Title   string
	State   chip
	Frame   string // address of the value; "" when there is none to show in a frame
	Text    string // the value, where it is plain text
	Changes []diffLine
	Hidden  bool // it differs in markup alone
	Compare bool // the last value is known
}

type deviceLine struct {
	ID     int
	Name   string
	States []chip
	Note   string
}

// preview shows what a sync of a tenant would write now.
func (c *Console) preview(x *exchange) error {
	p := previewPage{Tenant: strings.ToLower(x.value("tenant")), Theme: themeOf(x), Search: x.value("q")}
	p.Themes = options(p.Theme, "", "As this device", "light", "Light", "dark", "Dark")
	mapped, err := c.mappedTenants(x)
	if err != nil {
		return err
	}
	p.Tenants = tenantOptions(mapped, &p.Tenant, &p.Domain)
	if p.Tenant == "" {
		return c.show(x, "preview", "Preview", "", p)
	}
	preview, err := c.previewOf(x.ctx(), p.Tenant, x.value("fresh") != "")
	if err != nil {
		return c.show(x, "preview", "Preview", "Nothing can be shown. "+sentence(err), p)
	}
	p.Name, p.At, p.Shared, p.Problems = preview.Tenant.DisplayName, preview.At, preview.Shared, preview.Problems
	device, _ := strconv.Atoi(x.value("device"))
	for i, t := range preview.Targets {
		line := deviceLine{ID: t.DeviceID, Name: t.Name}
		for _, f := range t.Fields {
			if f.Outcome == tenantsync.OutcomeNew || f.Outcome == tenantsync.OutcomeChanged || f.Outcome == tenantsync.OutcomeCleared {
				p.Write++
			}
			line.States = append(line.States, outcomeChip(f.Outcome))
		}
		if t.Unmatched {
			line.Note = "No longer matched: its fields are cleared."
		}
		if t.DeviceID != 0 && contains(p.Search, t.Name, strconv.Itoa(t.DeviceID)) {
			p.Devices = append(p.Devices, line)
		}
		if t.DeviceID == device {
			p.Fields = c.fieldsOf(x, p, t)
			if device != 0 {
				p.Device = &preview.Targets[i]
			}
		}
	}
	p.Devices, p.Pager = paged(x, p.Devices)
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
	for _, w := range wantedFields {
		titles[w.Field] = w.Title
	}
	return titles
}()

const textField = "DeviceCompliance" // the only field that is no HTML

func (c *Console) fieldsOf(x *exchange, p previewPage, t tenantsync.PreviewTarget) []previewField {
	var list []previewField
	for _, f := range t.Fields {
		v := previewField{PreviewField: f, Title: fieldTitles[f.Field], State: outcomeChip(f.Outcome), Compare: f.HaveLast}
		switch {
		case f.Field == textField:
			v.Text = f.Value
		case f.Value != "":
			q := url.Values{"tenant": {p.Tenant}, "field": {f.Field}}
			if t.DeviceID != 0 {
				q.Set("device", strconv.Itoa(t.DeviceID))
			}
			if p.Theme != "" {
				q.Set("theme", p.Theme)
			}
			v.Frame = x.base + "/preview/value?" + q.Encode()
		}
		if f.HaveLast && f.Last != f.Value {
			v.Changes = diff(textLines(f.Last), textLines(f.Value))
			v.Hidden = len(v.Changes) == 0
		}
		list = append(list, v)
	}
	return list
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

// valuePolicy is for the document that shows one composed value: it may style
// itself, as values do, and do nothing else at all.
const valuePolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"

// previewValue serves one composed value as a document of its own.
func (c *Console) previewValue(x *exchange) error {
	id := strings.ToLower(x.value("tenant"))
	mapped, err := c.mappedTenants(x)
	if err != nil {
		return err
	}
	domain := ""
	if tenantOptions(mapped, &id, &domain); id == "" {
		return errors.New("no such tenant is mapped to NinjaOne")
	}
	preview, err := c.previewOf(x.ctx(), id, false)
	if err != nil {
		return err
	}
	device, _ := strconv.Atoi(x.value("device"))
	field := x.value("field")
	t := slices.IndexFunc(preview.Targets, func(t tenantsync.PreviewTarget) bool { return t.DeviceID == device })
	if t < 0 || field == textField {
		return errors.New("there is no such value in the preview")
	}
	f := slices.IndexFunc(preview.Targets[t].Fields, func(f tenantsync.PreviewField) bool { return f.Field == field })
	if f < 0 {
		return errors.New("there is no such value in the preview")
	}
	style, err := files.ReadFile("static/value.css")
	if err != nil {
		return err
	}
	x.w.Header().Set("Content-Security-Policy", valuePolicy)
	return c.render(x, 200, "value", view{Title: fieldTitles[field], Page: struct {
		Style template.CSS
		Theme string
		// Value was made by package compose, whose templates escape what
		// comes from the tenant.
		Value template.HTML
	}{template.CSS(style), themeOf(x), template.HTML(preview.Targets[t].Fields[f].Value)}})
}
