package documents

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

func TestAdopt(t *testing.T) {
	const me, other = "tenant-a", "tenant-b"
	doc := func(id int, tenantID, user string) ninjaone.Document {
		var fields []ninjaone.FieldText
		if tenantID != "" {
			fields = append(fields, ninjaone.FieldText{Name: compose.FieldTenantID, Text: tenantID})
		}
		if user != "" {
			fields = append(fields, ninjaone.FieldText{Name: compose.FieldUserID, Text: user})
		}
		return ninjaone.Document{ID: id, Name: "Ada", Fields: fields}
	}
	archived := func(d ninjaone.Document) ninjaone.Document { d.Archived = true; return d }
	type found struct {
		ID     int
		Extras []int
	}
	tests := map[string]struct {
		documents []ninjaone.Document
		ours      []string
		theirs    []string
		mapped    map[int]string
		taken     []int
		known     map[string]int
		want      map[string]found
	}{
		"nothing there":                                 {},
		"by tenant and user":                            {documents: []ninjaone.Document{doc(1, me, "u1"), doc(2, other, "u1")}, want: map[string]found{"u1": {ID: 1}}},
		"in another case":                               {documents: []ninjaone.Document{doc(1, " TENANT-A ", "U1")}, want: map[string]found{"u1": {ID: 1}}},
		"tenant's, of one who left":                     {documents: []ninjaone.Document{doc(1, me, "gone")}, want: map[string]found{"gone": {ID: 1}}},
		"no tenant, the tenant's user":                  {documents: []ninjaone.Document{doc(1, "", "u1")}, ours: []string{"u1"}, want: map[string]found{"u1": {ID: 1}}},
		"no tenant, nobody's user":                      {documents: []ninjaone.Document{doc(1, "", "u1")}},
		"no tenant, another's user":                     {documents: []ninjaone.Document{doc(1, "", "u1")}, theirs: []string{"u1"}},
		"no tenant, both have the user":                 {documents: []ninjaone.Document{doc(1, "", "u1")}, ours: []string{"u1"}, theirs: []string{"u1"}},
		"no tenant, both have the user, map decides":    {documents: []ninjaone.Document{doc(1, "", "u1")}, ours: []string{"u1"}, theirs: []string{"u1"}, mapped: map[int]string{1: "u1"}, want: map[string]found{"u1": {ID: 1}}},
		"no tenant, both maps name it":                  {documents: []ninjaone.Document{doc(1, "", "u1")}, ours: []string{"u1"}, theirs: []string{"u1"}, mapped: map[int]string{1: "u1"}, taken: []int{1}},
		"no ids at all":                                 {documents: []ninjaone.Document{doc(1, "", "")}, ours: []string{"u1"}},
		"no ids at all, map decides":                    {documents: []ninjaone.Document{doc(1, "", "")}, mapped: map[int]string{1: "u1"}, want: map[string]found{"u1": {ID: 1}}},
		"no ids at all, both maps name it":              {documents: []ninjaone.Document{doc(1, "", "")}, mapped: map[int]string{1: "u1"}, taken: []int{1}},
		"own id against the map":                        {documents: []ninjaone.Document{doc(1, "", "u2")}, ours: []string{"u1", "u2"}, mapped: map[int]string{1: "u1"}, want: map[string]found{"u2": {ID: 1}}},
		"no tenant, both may have the user, remembered": {documents: []ninjaone.Document{doc(1, "", "u1"), doc(2, "", "u1")}, theirs: []string{"u1"}, known: map[string]int{"u1": 2}, want: map[string]found{"u1": {ID: 2}}},
		"nobody's user, remembered":                     {documents: []ninjaone.Document{doc(1, me, "x")}, known: map[string]int{"u1": 1}, want: map[string]found{"u1": {ID: 1}}},
		"no ids at all, remembered":                     {documents: []ninjaone.Document{doc(1, "", "")}, known: map[string]int{"u1": 1}, want: map[string]found{"u1": {ID: 1}}},
		"another tenant's, though remembered":           {documents: []ninjaone.Document{doc(1, other, "u1")}, known: map[string]int{"u1": 1}},
		"tenant without user, map decides":              {documents: []ninjaone.Document{doc(1, me, "")}, mapped: map[int]string{1: "u1"}, want: map[string]found{"u1": {ID: 1}}},
		"another tenant's, though the map names it":     {documents: []ninjaone.Document{doc(1, other, "u1")}, ours: []string{"u1"}, mapped: map[int]string{1: "u1"}},
		"the oldest of several":                         {documents: []ninjaone.Document{doc(3, "", "u1"), doc(1, me, "u1"), doc(2, "", "u1")}, ours: []string{"u1"}, want: map[string]found{"u1": {1, []int{2, 3}}}},
		"the one remembered":                            {documents: []ninjaone.Document{doc(1, me, "u1"), doc(2, me, "u1")}, known: map[string]int{"u1": 2}, want: map[string]found{"u1": {2, []int{1}}}},
		"the one remembered is archived":                {documents: []ninjaone.Document{doc(1, me, "u1"), archived(doc(2, me, "u1"))}, known: map[string]int{"u1": 2}, want: map[string]found{"u1": {ID: 1}}},
		"the oldest that is not archived":               {documents: []ninjaone.Document{archived(doc(1, me, "u1")), doc(2, me, "u1"), doc(3, me, "u1")}, want: map[string]found{"u1": {2, []int{3}}}},
		"all archived":                                  {documents: []ninjaone.Document{archived(doc(2, me, "u1")), archived(doc(1, me, "u1"))}, want: map[string]found{"u1": {ID: 1}}},
		"duplicates that may be another's stay":         {documents: []ninjaone.Document{doc(1, me, "u1"), doc(2, "", "u1")}, ours: []string{"u1"}, theirs: []string{"u1"}, want: map[string]found{"u1": {ID: 1}}},
	}
	in := func(list []string) func(string) bool {
		set := map[string]bool{}
		for _, id := range list {
			set[id] = true
		}
		return func(id string) bool { return set[id] }
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := claims{tenantID: me, idField: compose.FieldUserID, ours: in(tt.ours), theirs: in(tt.theirs), mapped: tt.mapped, taken: map[int]bool{}, remembered: map[int]string{}}
			for id, d := range tt.known {
				c.remembered[d] = id
			}
			for _, d := range tt.taken {
				c.taken[d] = true
			}
			got := map[string]found{}
			for id, one := range adopt(tt.documents, c) {
				got[id] = found{one.document.ID, one.extras}
			}
			if tt.want == nil {
				tt.want = map[string]found{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBraked(t *testing.T) {
	for _, tt := range []struct {
		archive, of int
		want        bool
	}{
		{0, 0, false}, {10, 10, false}, {11, 11, true}, {11, 54, true}, {11, 55, false}, {20, 100, false}, {21, 100, true}, {1000, 5000, false}, {1001, 5000, true},
	} {
		if got := braked(tt.archive, tt.of); got != tt.want {
			t.Errorf("braked(%d, %d) = %v", tt.archive, tt.of, got)
		}
	}
}

func TestChoose(t *testing.T) {
	field := ninjaone.TemplateField{Name: "ours"}
	tmpl := func(id int, name string, archived bool) ninjaone.Template {
		return ninjaone.Template{ID: id, Name: name, Archived: archived}
	}
	filled := func(t ninjaone.Template) ninjaone.Template {
		t.Fields, t.AllowMultiple = []ninjaone.TemplateField{field}, true
		return t
	}
	for name, tt := range map[string]struct {
		templates  []ninjaone.Template
		id         int
		duplicates []int
		archived   bool
		renamed    bool
	}{
		"none":            {[]ninjaone.Template{tmpl(1, "Other", false)}, 0, nil, false, false},
		"one":             {[]ninjaone.Template{tmpl(1, "Other", false), tmpl(2, "T", false)}, 2, nil, false, false},
		"only archived":   {[]ninjaone.Template{tmpl(2, "T", true)}, 0, nil, true, false},
		"lowest of three": {[]ninjaone.Template{tmpl(5, "T", false), tmpl(4, "T", false), tmpl(6, "T", false), tmpl(1, "T", true)}, 4, []int{5, 6}, true, false},
		"renamed":         {[]ninjaone.Template{filled(tmpl(7, "X", false)), filled(tmpl(5, "Y", false)), filled(tmpl(3, "Z", true)), tmpl(2, "V", false)}, 5, nil, false, true},
		"one of the name": {[]ninjaone.Template{filled(tmpl(5, "Y", false)), tmpl(7, "T", false)}, 7, nil, false, false},
		"the case counts": {[]ninjaone.Template{tmpl(5, "t", false)}, 0, nil, false, false},
	} {
		c := choose(tt.templates, blueprint{name: "T", fields: []ninjaone.TemplateField{field}})
		if c.template.ID != tt.id || c.found != (tt.id != 0) || !cmp.Equal(c.duplicates, tt.duplicates) || c.archived != tt.archived || c.renamed != tt.renamed {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestPermissionsOfCIPPsCache(t *testing.T) {
	full := map[string][]string{}
	for _, data := range []string{
		`{"Identity":"Box@Contoso.example","User":"ann@contoso.example","AccessRights":["FullAccess"],"IsInherited":false}`,
		`{"Identity":"box@contoso.example","User":"ben@contoso.example","AccessRights":"FullAccess, ReadPermission"}`,
		`{"Identity":"box@contoso.example","User":"NT AUTHORITY\\SELF","AccessRights":["FullAccess"]}`,
		`{"Identity":"box@contoso.example","User":"denied@contoso.example","AccessRights":["FullAccess"],"Deny":true}`,
		`{"Identity":"box@contoso.example","User":"sender@contoso.example","AccessRights":["SendAs"]}`,
		`{"Identity":"id-2","Permissions":[{"User":"cleo@contoso.example","AccessRights":["FullAccess"]},{"Identity":"id-3","User":"dora@contoso.example","AccessRights":["FullAccess"]}]}`,
		`{"Identity":"","User":"x","AccessRights":["FullAccess"]}`,
		`{"Identity":"id-4","User":"x","AccessRights":7}`,
	} {
		var p permission
		must(t, json.Unmarshal([]byte(data), &p))
		p.addTo(full, p.Identity)
	}
	want := map[string][]string{
		"box@contoso.example": {"ann@contoso.example", "ben@contoso.example"},
		"id-2":                {"cleo@contoso.example"},
		"id-3":                {"dora@contoso.example"},
	}
	if diff := cmp.Diff(want, full); diff != "" {
		t.Error(diff)
	}
}

func TestCacheReachesTheDocument(t *testing.T) {
	w, m, _ := small(t)
	domain := fmt.Sprintf("d%s.example", m.id[:8])
	must(t, w.account.Table("CippReportingDB").Replace(t.Context(), storage.Entity{
		"PartitionKey": domain, "RowKey": "MailboxPermissions-1", "Type": "MailboxPermissions",
		"Data": `{"Identity":"box","User":"ann@contoso.example","AccessRights":["FullAccess"]}`,
	}))
	in := w.input(m)
	in.Snapshot.Tenant.DefaultDomain = domain
	r := &run{Syncer: w.syncer, in: Input{Compose: in}}
	got := r.mailboxAccess(t.Context())
	if !got.OK() || got.Value.AsOf.IsZero() || !cmp.Equal(got.Value.Full, map[string][]string{"box": {"ann@contoso.example"}}) {
		t.Errorf("%+v", got)
	}
}
