package gallery

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/ninjasim"

	"golang.org/x/net/html"
)

// serve returns the address of a gallery over an instance with one awkward and one empty organization.
func serve(t *testing.T) (string, *ninjasim.Server) {
	t.Helper()
	s := ninjasim.New(ninjasim.Config{ClientID: "c", ClientSecret: "s", Now: func() time.Time { return time.Date(2026, 5, 6, 7, 8, 0, 0, time.UTC) }})
	s.AddOrganization(ninjasim.Organization{ID: 3, Name: "Dune & <b>Sons</b>"})
	s.AddOrganization(ninjasim.Organization{ID: 4, Name: "Empty Ltd"})
	s.AddCustomField(ninjasim.CustomField{Name: "tenantLinks", Label: "Tenant links", Type: "WYSIWYG", DefinitionScope: []string{"ORGANIZATION"}})
	s.AddCustomField(ninjasim.CustomField{Name: "tenantSummary", Label: "Tenant summary", Type: "WYSIWYG", DefinitionScope: []string{"ORGANIZATION"}})
	s.AddCustomField(ninjasim.CustomField{Name: "deviceSummary", Label: "Device summary", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}})
	s.AddCustomField(ninjasim.CustomField{Name: "deviceCompliance", Label: "Compliance", Type: "TEXT", DefinitionScope: []string{"NODE"}})
	s.SetOrganizationField(3, "tenantLinks", `<div class="card"><a href="https://example.com/x">Portal</a></div>`)
	s.SetOrganizationField(3, "tenantSummary", `</div></div><p class="stat-value">42</p><script>alert(1)</script><b>bold</b><div class="row">`)
	for id := 50; id < 60; id++ {
		s.AddDevice(ninjasim.Device{ID: id, OrganizationID: 3, SystemName: "DUN-" + string(rune('A'+id-50)), Offline: id == 51})
	}
	s.SetDeviceField(50, "deviceSummary", `<p>`+strings.Repeat("long ", 2100)+`</p>`)
	s.SetDeviceField(50, "deviceCompliance", "Compliant")
	s.SetDeviceField(51, "deviceCompliance", "Non-Compliant")
	s.SetDeviceField(52, "deviceCompliance", "<i>odd</i>")
	people := s.AddTemplate(ninjasim.Template{ID: 7, Name: "People & more", AllowMultiple: true, Items: []ninjasim.TemplateItem{
		{Name: "about", Label: "About", Type: "WYSIWYG"}, {Name: "number", Label: "Number", Type: "TEXT"}}})
	contracts := s.AddTemplate(ninjasim.Template{ID: 8, Name: "Contracts", AllowMultiple: true})
	s.AddDocument(ninjasim.Document{ID: 70, OrganizationID: 3, TemplateID: people, Name: "Ida <i>Dune</i>",
		Fields: map[string]string{"about": `<p class="stat-value">Ida</p><script>alert(2)</script>`, "number": "<u>17</u>"}})
	s.AddDocument(ninjasim.Document{ID: 71, OrganizationID: 3, TemplateID: people, Name: "Left", Archived: true})
	s.AddDocument(ninjasim.Document{ID: 72, OrganizationID: 3, TemplateID: contracts, Name: "Lease"})
	s.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: 50, RelatedType: "DOCUMENT", RelatedID: 70})
	s.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: 72, RelatedType: "DOCUMENT", RelatedID: 70, MadeByTechnician: true})
	s.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: 70, Attachment: "badge.pdf"})
	s.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: 70, RelatedType: "ORGANIZATION", RelatedID: 4})
	s.AddRelation(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: 72, RelatedType: "DOCUMENT", RelatedID: 71})
	server := httptest.NewServer(New(s))
	t.Cleanup(server.Close)
	return server.URL, s
}

func get(t *testing.T, address string) (*http.Response, string) {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestPages(t *testing.T) {
	address, _ := serve(t)
	tests := []struct {
		name, path   string
		status       int
		shown, never []string
	}{
		{"index", "/", 200,
			[]string{"Dune &amp; &lt;b&gt;Sons&lt;/b&gt;", "Empty Ltd", "2 fields with a value", "No field has a value", "markup was removed",
				`href="/organizations/3/devices/50"`, "2 more devices", "10 devices · 2 documents · 1 archived", "✓ Compliant", "✕ Non-Compliant", "&lt;i&gt;odd&lt;/i&gt;"},
			[]string{"<b>Sons", "<i>odd"}},
		{"first field", "/organizations/3", 200,
			[]string{`<a href="https://example.com/x">Portal</a>`, "<strong>NinjaOne removes:</strong> nothing", `tab=tenantLinks" aria-current="page"`}, nil},
		{"field with removals", "/organizations/3?tab=tenantSummary", 200,
			[]string{`<div class="field-value"><p class="stat-value">42</p>bold<div class="row"></div></div>`, "<code>element b</code>", "<code>element script</code>", "2026-05-06 07:08 UTC"},
			[]string{"alert(1)", "nothing."}},
		{"devices of an organization", "/organizations/3?tab=devices", 200, []string{"DUN-A", "DUN-J"}, []string{"field-value"}},
		{"documents of a template", "/organizations/3?tab=documents-7", 200,
			[]string{`tab=documents-7" aria-current="page">People &amp; more</a>`, `<a href="/organizations/3/documents/70">Ida &lt;i&gt;Dune&lt;/i&gt;</a></td><td>–</td><td>4</td>`,
				`Left</a></td><td><span class="shell-state">Archived</span></td><td>1</td>`}, []string{"Lease", "DUN-A", "<i>Dune"}},
		{"documents of another template", "/organizations/3?tab=documents-8", 200, []string{"Lease"}, []string{"Left"}},
		{"document", "/organizations/3/documents/70", 200,
			[]string{"Ida &lt;i&gt;Dune&lt;/i&gt;", "&lt;u&gt;17&lt;/u&gt;", `<p class="stat-value">Ida</p>`, "<code>element script</code>",
				`<span class="shell-kind">Device</span> <a href="/organizations/3/devices/50">DUN-A</a></li>`,
				`<span class="shell-kind">Contracts</span> <a href="/organizations/3/documents/72">Lease</a> <span class="shell-state">by a technician</span></li>`,
				`<span class="shell-kind">File</span> badge.pdf</li>`, `<span class="shell-kind">ORGANIZATION</span> 4</li>`},
			[]string{"alert(2)", "<u>17", "Left"}},
		{"document that is archived, related to from its other end", "/organizations/3/documents/71", 200,
			[]string{"Archived", "Lease", "No field of the document"}, nil},
		{"document of another organization", "/organizations/4/documents/70", 404, nil, nil},
		{"document of an unknown organization", "/organizations/9/documents/70", 404, nil, nil},
		{"organization without anything", "/organizations/4", 200, []string{"The organization has no devices"}, nil},
		{"device", "/organizations/3/devices/50", 200,
			[]string{`<span class="shell-kind">People &amp; more</span> <a href="/organizations/3/documents/70">`, "shell-success", "✓ Compliant", "long long", "10,507 of 200,000 characters", "shown collapsed", "WINDOWS WORKSTATION", "Online"}, nil},
		{"device without formatted fields", "/organizations/3/devices/51", 200, []string{"shell-danger", "Offline", "No field of the device"}, []string{"Related items"}},
		{"device of another organization", "/organizations/4/devices/50", 404, nil, nil},
		{"unknown organization", "/organizations/9", 404, nil, nil},
		{"organization of an unknown device", "/organizations/9/devices/50", 404, nil, nil},
		{"unknown page", "/nothing", 404, nil, nil},
		{"icons", "/static/icons.css", 200, []string{".fa-users {", ".fa-user-group {", `url("data:image/svg+xml,%3Csvg`}, nil},
		{"grid", "/static/grid.css", 200, []string{"(min-width: 768px)", ".col-md-6 { flex: 0 0 auto; width: 50.0000%; }"}, nil},
		{"style", "/static/value.css", 200, []string{".stat-card"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response, body := get(t, address+test.path)
			if response.StatusCode != test.status {
				t.Fatalf("status %d, want %d", response.StatusCode, test.status)
			}
			if response.Header.Get("Content-Security-Policy") != contentPolicy || response.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", response.Header)
			}
			for _, text := range test.shown {
				if !strings.Contains(body, text) {
					t.Errorf("%q is not shown in:\n%s", text, body)
				}
			}
			for _, text := range test.never {
				if strings.Contains(body, text) {
					t.Errorf("%q is shown", text)
				}
			}
			if strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
				checkWellFormed(t, body)
			}
		})
	}
}

// checkWellFormed fails unless every element is closed where its parent is, and nothing on the page could run.
func checkWellFormed(t *testing.T, page string) {
	t.Helper()
	var open []string
	tokens := html.NewTokenizer(strings.NewReader(page))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("left open: %v", open)
			}
			return
		case html.StartTagToken:
			token := tokens.Token()
			if token.Data == "script" {
				t.Error("the page holds a script")
			}
			for _, attribute := range token.Attr {
				if strings.HasPrefix(attribute.Key, "on") || strings.HasPrefix(attribute.Val, "javascript:") {
					t.Errorf("the page holds %s=%q", attribute.Key, attribute.Val)
				}
			}
			if token.Data != "meta" && token.Data != "link" {
				open = append(open, token.Data)
			}
		case html.EndTagToken:
			token := tokens.Token()
			if len(open) == 0 || open[len(open)-1] != token.Data {
				t.Fatalf("</%s> closes %v", token.Data, open)
			}
			open = open[:len(open)-1]
		}
	}
}

func TestEveryIconNameHasAShape(t *testing.T) {
	for name, target := range sameIcon {
		if icons[target] == "" {
			t.Errorf("%s stands for %s, which has no shape", name, target)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(icons)) {
		if sameIcon[name] != "" {
			t.Errorf("%s is drawn twice", name)
		}
	}
}
