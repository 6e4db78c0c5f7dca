package gallery

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cipp-ninjaone/sandbox/ninjasim"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Limits of NinjaOne, in characters of a rich text value.
const (
	maxRich       = 200_000
	collapsedFrom = 10_000
)

// devicesInIndex is how many devices of an organization the first page lists.
const devicesInIndex = 8

// richValue is a WYSIWYG value ready to show.
type richValue struct {
	Label, Name string
	Markup      template.HTML
	Source      string
	Size, Limit int // characters as JSON, and how many NinjaOne takes
	Collapsed   bool
	Removed     []string
	UpdatedBy   string
	UpdatedAt   string
}

// textValue is the value of any other field.
type textValue struct {
	Label, Name, Text string
	State             string // success, danger, or empty: the colour of the tag
}

// fields are the values of one organization or device.
type fields struct {
	Rich []richValue
	Text []textValue
}

func (g gallery) fields(scope ninjasim.Kind, value func(name string) (ninjasim.FieldValue, bool)) fields {
	var f fields
	for _, field := range g.source.CustomFields() {
		if !slices.Contains(field.DefinitionScope, string(scope)) {
			continue
		}
		v, ok := value(field.Name)
		switch {
		case !ok:
		case field.Type == "WYSIWYG":
			f.Rich = append(f.Rich, newRichValue(field, v))
		default:
			f.Text = append(f.Text, newTextValue(field, v))
		}
	}
	return f
}

func newRichValue(field ninjasim.CustomField, v ninjasim.FieldValue) richValue {
	size := utf8.RuneCountInString(quote(v.Sent)) - 2
	return richValue{
		Label: field.Label, Name: field.Name, Markup: balanced(v.Clean), Source: v.Clean,
		Size: size, Limit: maxRich, Collapsed: size > collapsedFrom, Removed: v.Removed,
		UpdatedBy: v.UpdatedBy, UpdatedAt: v.UpdatedAt.UTC().Format("2006-01-02 15:04 UTC"),
	}
}

// quote is a text as JSON, without the escapes that only HTML needs.
func quote(text string) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text)
	return strings.TrimSuffix(out.String(), "\n")
}

// newTextValue colours the two words that the compliance field knows.
func newTextValue(field ninjasim.CustomField, v ninjasim.FieldValue) textValue {
	text := textValue{Label: field.Label, Name: field.Name, Text: v.Clean}
	switch v.Clean {
	case "Compliant":
		text.State = "success"
	case "Non-Compliant":
		text.State = "danger"
	}
	return text
}

// balanced closes what a sanitised value leaves open, and drops what closes nothing. So the value
// cannot change the page around it. What the allow-list lets through cannot run.
func balanced(clean string) template.HTML {
	nodes, err := html.ParseFragment(strings.NewReader(clean), &html.Node{Type: html.ElementNode, Data: "div", DataAtom: atom.Div})
	if err != nil {
		return template.HTML(template.HTMLEscapeString(clean))
	}
	var out strings.Builder
	for _, node := range nodes {
		if err := html.Render(&out, node); err != nil {
			return template.HTML(template.HTMLEscapeString(clean))
		}
	}
	return template.HTML(out.String())
}

// deviceRow is a device in a list.
type deviceRow struct {
	ninjasim.Device
	Text   []textValue
	Values int // how many fields have a value
}

func (g gallery) deviceRows(organizationID, most int) (rows []deviceRow, more int) {
	devices := g.source.Devices(organizationID)
	if most > 0 && len(devices) > most {
		devices, more = devices[:most], len(devices)-most
	}
	for _, device := range devices {
		row := deviceRow{Device: device}
		for _, field := range g.source.CustomFields() {
			if value, ok := g.source.DeviceField(device.ID, field.Name); ok {
				row.Values++
				if field.Type == "TEXT" {
					row.Text = append(row.Text, newTextValue(field, value))
				}
			}
		}
		rows = append(rows, row)
	}
	return rows, more
}

// organizationCard is an organization in the index.
type organizationCard struct {
	ninjasim.Organization
	Values  int // how many fields have a value
	Removed int // how many kinds of markup were removed from its fields
	Devices []deviceRow
	More    int
	Total   int

	Documents, Archived int
}

func (g gallery) index(w http.ResponseWriter, r *http.Request) {
	page := struct {
		Title         string
		Organizations []organizationCard
	}{Title: "Organizations"}
	for _, organization := range g.source.Organizations() {
		card := organizationCard{Organization: organization}
		card.Devices, card.More = g.deviceRows(organization.ID, devicesInIndex)
		card.Total = len(card.Devices) + card.More
		for _, field := range g.source.CustomFields() {
			if value, ok := g.source.OrganizationField(organization.ID, field.Name); ok {
				card.Values++
				card.Removed += len(value.Removed)
			}
		}
		for _, d := range g.source.Documents(organization.ID) {
			if d.Archived {
				card.Archived++
			} else {
				card.Documents++
			}
		}
		page.Organizations = append(page.Organizations, card)
	}
	show(w, "index.gohtml", page)
}

// tab is a link to one field of an organization, to its devices, or to its documents of one template.
type tab struct {
	Label, Key string
	Current    bool
}

const devicesTab = "devices"

func (g gallery) organization(w http.ResponseWriter, r *http.Request) {
	organization, ok := g.findOrganization(r.PathValue("organization"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	values := g.fields(ninjasim.OrganizationKind, func(name string) (ninjasim.FieldValue, bool) {
		return g.source.OrganizationField(organization.ID, name)
	})
	page := struct {
		Title        string
		Organization ninjasim.Organization
		Text         []textValue
		Tabs         []tab
		Value        *richValue
		Devices      []deviceRow
		Documents    []documentRow
	}{Title: organization.Name, Organization: organization, Text: values.Text}
	current := r.URL.Query().Get("tab")
	if current == "" && len(values.Rich) > 0 {
		current = values.Rich[0].Name
	}
	for _, value := range values.Rich {
		page.Tabs = append(page.Tabs, tab{value.Label, value.Name, value.Name == current})
		if value.Name == current {
			page.Value = &value
		}
	}
	tabs, documents := g.documentTabs(organization.ID, current)
	page.Documents = documents
	page.Tabs = append(page.Tabs, tab{"Devices", devicesTab, page.Value == nil && documents == nil})
	page.Tabs = append(page.Tabs, tabs...)
	if page.Value == nil && documents == nil {
		page.Devices, _ = g.deviceRows(organization.ID, 0)
	}
	show(w, "organization.gohtml", page)
}

func (g gallery) findOrganization(id string) (ninjasim.Organization, bool) {
	for _, organization := range g.source.Organizations() {
		if strconv.Itoa(organization.ID) == id {
			return organization, true
		}
	}
	return ninjasim.Organization{}, false
}

func (g gallery) device(w http.ResponseWriter, r *http.Request) {
	organization, ok := g.findOrganization(r.PathValue("organization"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	devices := g.source.Devices(organization.ID)
	at := slices.IndexFunc(devices, func(d ninjasim.Device) bool { return strconv.Itoa(d.ID) == r.PathValue("device") })
	if at < 0 {
		http.NotFound(w, r)
		return
	}
	device := devices[at]
	show(w, "device.gohtml", struct {
		Title        string
		Organization ninjasim.Organization
		Device       ninjasim.Device
		Facts        []string
		Related      []related
		fields
	}{
		Title: deviceName(device), Organization: organization, Device: device, Facts: deviceFacts(device),
		Related: g.relatedTo(organization.ID, "NODE", device.ID),
		fields:  g.fields(ninjasim.DeviceKind, func(name string) (ninjasim.FieldValue, bool) { return g.source.DeviceField(device.ID, name) }),
	})
}

func deviceName(d ninjasim.Device) string {
	for _, name := range []string{d.DisplayName, d.SystemName, d.DNSName} {
		if name != "" {
			return name
		}
	}
	return fmt.Sprintf("Device %d", d.ID)
}

// Shown is the device's name in the lists.
func (d deviceRow) Shown() string { return deviceName(d.Device) }

// deviceFacts are the lines under a device's name.
func deviceFacts(d ninjasim.Device) []string {
	facts := []string{strings.ReplaceAll(d.NodeClass, "_", " ")}
	for _, fact := range []string{d.OSName, strings.TrimSpace(d.Manufacturer + " " + d.Model), d.SerialNumber} {
		if fact != "" {
			facts = append(facts, fact)
		}
	}
	if d.Offline {
		return append(facts, "Offline")
	}
	return append(facts, "Online")
}
