package console

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/sandbox/ninjasim"
)

// mappings are what is stored, by tenant id.
func (w *world) mappings() map[string]int {
	w.t.Helper()
	list, err := w.console.CIPP.OrganizationMappings(w.t.Context())
	must(w.t, err)
	out := map[string]int{}
	for _, m := range list {
		out[m.TenantID] = m.OrganizationID
	}
	return out
}

func TestOrganizations(t *testing.T) {
	w := newWorld(t)
	first, second, third := w.tenantID(1), w.tenantID(2), w.tenantID(3)
	w.NinjaOne.AddOrganization(ninjasim.Organization{ID: 501, Name: "Northwind [GmbH] & Co"})
	page := w.get("/organizations")
	w.has(page, "3 tenants are mapped, 0 tenants are not", `value="Tenant 001 [100]"`, `<option value="Northwind [GmbH] &amp; Co [501]">`)

	// One is changed, one removed, one stays; the last was not on the form.
	page = w.post("/organizations", "organization:"+first, "Northwind [GmbH] & Co [501]", "was:"+first, "100", "organization:"+second, "", "was:"+second, "101")
	w.has(page, "2 mappings were saved.", "1 tenant is not")
	if got := w.mappings(); len(got) != 2 || got[first] != 501 || got[third] != 102 {
		t.Errorf("mappings %v", got)
	}
	// By name alone, in any case.
	w.has(w.post("/organizations", "organization:"+second, "tenant 002", "was:"+second, "0"), "1 mapping was saved.")
	w.has(w.post("/organizations", "organization:"+second, "Tenant 002 [101]", "was:"+second, "101"), "There was nothing to save")
	w.has(w.refused("/organizations", "organization:"+second, "Nobody "+hostile, "was:"+second, "101"), "is not an organization of NinjaOne", "Nobody &lt;script&gt;")
	if got := w.mappings(); got[second] != 101 {
		t.Errorf("mappings %v", got)
	}
	// Somebody else was faster.
	w.has(w.refused("/organizations", "organization:"+second, "Tenant 003 [102]", "was:"+second, "0"), "somebody else changed it meanwhile")
	if got := w.mappings(); got[second] != 101 {
		t.Errorf("mappings %v", got)
	}
	// An organization that is gone is said to be.
	w.NinjaOne.RemoveOrganization(501)
	w.has(w.get("/organizations"), "NinjaOne has no organization 501 any more")
	w.has(w.get("/organizations?show=open"), "There is no tenant that fits the filter")
	w.hasNot(w.get("/organizations?q=tenant-003"), "tenant-001.example")
	w.has(w.lines(), "tenant-001.example: Tenant 001 (100) → Northwind [GmbH] & Co (501); tenant-002.example: Tenant 002 (101) → not mapped.")

	remove := w.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/organizations", Status: 403})
	w.has(w.get("/organizations"), "The organizations could not be read from NinjaOne", "readonly")
	w.has(w.refused("/organizations", "organization:"+third, "", "was:"+third, "102"), "Nothing was saved")
	remove()
}

func (w *world) blob(name string, v any) {
	w.t.Helper()
	data, err := json.Marshal(v)
	must(w.t, err)
	must(w.t, w.console.Blobs.Put(w.t.Context(), name, data))
}

func TestSuggestions(t *testing.T) {
	w := newWorld(t)
	id := w.tenantID(2)
	w.post("/organizations", "organization:"+id, "", "was:"+id, "101")
	finished := time.Date(2026, 11, 23, 8, 30, 0, 0, time.UTC)
	w.blob("automap/suggestions.json", automap.Report{
		Started: finished.Add(-time.Minute), Finished: finished,
		Mapped: []automap.Mapped{{Tenant: automap.TenantName{Name: "Fabrikam", Domain: "fabrikam.example"}, OrganizationName: "Fabrikam Ltd", Why: "it has " + hostile}},
		Suggestions: []automap.Suggestion{{
			Tenant: automap.TenantName{ID: id}, Reason: "two organizations have its name",
			Candidates: []automap.Candidate{{OrganizationID: 101, OrganizationName: "Tenant 002", Evidence: match.OrganizationEvidence{Name: match.NameSimilar, Devices: 2, Of: 3, Serials: []string{"A1", "B2"}}}},
		}},
	})
	page := w.get("/organizations")
	w.has(page, "2026-11-23 08:30 UTC", "2 of 3 shared devices (serial numbers A1, B2)", "apart from case", "Not mapped by itself because two organizations have its name", "it has &lt;script&gt;")
	w.has(w.post("/organizations", "organization:"+id, "", "was:"+id, "0", "map", id+"|Tenant 002 [101]"), "1 mapping was saved.")
	if got := w.mappings(); got[id] != 101 {
		t.Errorf("mappings %v", got)
	}
	w.hasNot(w.get("/organizations"), "Not mapped by itself")
}

func TestAutomap(t *testing.T) {
	w := newWorld(t)
	w.has(w.get("/organizations/progress"), `{"running":false,"text":"","finished":""}`)
	w.has(w.post("/organizations/automap"), "The search for organizations was asked for")
	if got := w.message(w.automaps); got != "{}" {
		t.Errorf("message %s", got)
	}
	w.has(w.lines(), "NinjaOneAutoMap_Queue: An automap was asked for.")
	// A search that ends before its page is shown is another one than the last.
	ended := time.Date(2026, 11, 23, 8, 30, 0, 1, time.UTC)
	w.blob("automap/suggestions.json", automap.Report{Finished: ended})
	w.has(w.get("/organizations"), `data-finished="2026-11-23T08:30:00.000000001Z"`)
	w.has(w.get("/organizations?done=automap"), `data-finished=""`)
	w.has(w.post("/organizations/automap"), `data-finished="2026-11-23T08:30:00.000000001Z"`)
	w.blob("automap/progress.json", automap.Progress{Started: time.Now(), Updated: time.Now(), Tenants: 40, Read: map[string]automap.Reading{"x": {}}, Mapped: make([]automap.Mapped, 3)})
	w.has(w.get("/organizations"), "data-running", "3 mapped so far, devices of 1 of 40 tenants compared.")
	w.has(w.get("/organizations/progress"), `"running":true`)
}

func TestManyTenants(t *testing.T) {
	w := newWorld(t)
	for n := range 230 {
		id := strings.Replace("7e0b1c00-0000-4000-8000-000000000###", "###", string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)}), 1)
		w.row(w.account.Table("Tenants"), map[string]any{"PartitionKey": "Tenants", "RowKey": id, "customerId": id, "displayName": "Many " + id[33:], "defaultDomainName": id[33:] + ".many.example", "Excluded": false})
	}
	page := w.get("/organizations?show=open")
	w.has(page, "Page 1 of 3, 230 rows in all", "Next page", "Many 000", "Many 099")
	w.hasNot(page, "Many 100", "Previous page")
	w.has(w.get("/organizations?show=open&page=3"), "Many 229", "Previous page")
}
