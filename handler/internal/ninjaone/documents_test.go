package ninjaone

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const adasDocument = `{"documentId":9,"documentName":"Ada Example (ada@contoso.example)","documentDescription":null,
 "documentUpdateTime":1790000000.25,"documentTemplateId":4,"documentTemplateName":"People","organizationId":3,
 "fields":[{"name":"userID","value":"u-1","valueUpdateTime":1790000000.1},
  {"value":{"html":"<p>Ada</p>","text":"Ada"},"name":"summary"},
  {"name":"notes","value":"kept by a technician"},
  {"name":"tenant","value":null},{"name":"seats","value":12},{"name":"agreed","value":true}]}`

func TestDocuments(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, `[`+adasDocument+`,
		 {"documentId":10,"documentTemplateId":5,"organizationId":3,"archived":true},
		 {"documentId":11,"documentTemplateId":4,"organizationId":8,"documentName":"of another organization"},
		 {"documentId":12,"documentTemplateId":6,"organizationId":3,"documentName":"of another template"}]`)
	})
	got, err := serve(t, fake).Documents(t.Context(), DocumentQuery{
		OrganizationID: 3, TemplateIDs: []int{4, 5}, Fields: []string{"userID", "summary", "tenant", "seats", "agreed", "absent"},
	})
	want := []Document{
		{
			ID: 9, Name: "Ada Example (ada@contoso.example)",
			Fields: []FieldText{{"userID", "u-1"}, {"summary", "Ada"}, {"seats", "12"}},
		},
		{ID: 10, Archived: true, Fields: []FieldText{}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if calls := fake.made(); !slices.Equal(calls, []string{"GET /api/v2/organization/documents?organizationIds=3&templateIds=4%2C5"}) {
		t.Errorf("calls %q", calls)
	}
}

// TestDocumentsFailAsAWhole covers answers that must not pass for a short
// list, from which everything that is missing would be created again.
func TestDocumentsFailAsAWhole(t *testing.T) {
	for _, tt := range []struct{ name, body string }{
		{"null", `null`},
		{"an object", `{"documents":[]}`},
		{"cut short", `[` + adasDocument},
		{"without ids", `[{"documentName":"Ada Example"}]`},
		{"without the organization", `[{"documentId":9,"documentTemplateId":4}]`},
		{"without the template", `[{"documentId":9,"organizationId":3}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				c := inProcess(t, newFake(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 200, tt.body) }))
				got, err := c.Documents(t.Context(), DocumentQuery{OrganizationID: 3, TemplateIDs: []int{4}})
				if !errors.Is(err, ErrNotJSON) || got != nil {
					t.Errorf("got %v, %v", got, err)
				}
			})
		})
	}
}

func TestDocumentsDoNotKeepHTML(t *testing.T) {
	const documents, size = 400, 50_000
	html := strings.Repeat("<p>some summary</p>", size/19)
	c := serve(t, newFake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[")
		for i := range documents {
			if i > 0 {
				_, _ = io.WriteString(w, ",")
			}
			_, _ = fmt.Fprintf(w, `{"documentId":%d,"documentName":"User %d","documentTemplateId":4,"organizationId":3,"fields":[{"name":"summary","value":{"text":"some","html":%q}},{"name":"userID","value":"u-%d"}]}`, i+1, i, html, i)
		}
		_, _ = io.WriteString(w, "]")
	}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	got, err := c.Documents(t.Context(), DocumentQuery{OrganizationID: 3, TemplateIDs: []int{4}, Fields: []string{"userID"}})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > documents*2_000 {
		t.Errorf("%d documents keep %d bytes", documents, kept)
	}
	if len(got) != documents || got[documents-1].Text("userID") != fmt.Sprintf("u-%d", documents-1) {
		t.Errorf("%d documents, the last is %v", len(got), got[len(got)-1])
	}
	runtime.KeepAlive(got)
}

func TestCreateDocuments(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if body := readBody(t, r); body != `[{"organizationId":3,"documentTemplateId":4,"documentName":"Ada <Example>","fields":{"summary":{"html":"<p>Ada</p>"},"userID":"u-1"}},`+
			`{"organizationId":3,"documentTemplateId":4,"documentName":"Bob Example"}]` {
			t.Errorf("body %s", body)
		}
		answer(w, 200, `[{"documentId":10,"documentName":"Bob Example","documentTemplateId":4,"organizationId":3},`+adasDocument+`]`)
	})
	got, err := serve(t, fake).CreateDocuments(t.Context(), []NewDocument{
		{OrganizationID: 3, TemplateID: 4, Name: "Ada <Example>", Fields: Fields{"userID": Text("u-1"), "summary": HTML("<p>Ada</p>")}},
		{OrganizationID: 3, TemplateID: 4, Name: "Bob Example"},
	})
	if err != nil || len(got) != 2 || got[0].ID != 10 || got[1].ID != 9 || got[1].Text("userID") != "u-1" {
		t.Errorf("got %+v, %v", got, err)
	}
	if calls := fake.made(); !slices.Equal(calls, []string{"POST /api/v2/organization/documents"}) {
		t.Errorf("calls %q", calls)
	}
}

func TestUpdateDocuments(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if body := readBody(t, r); body != `[{"documentId":9,"documentName":"Ada Sample","fields":{"summary":null,"userID":"u-1"}},{"documentId":10}]` {
			t.Errorf("body %s", body)
		}
		answer(w, 200, `[{"documentId":9,"documentName":"Ada Sample","documentTemplateId":4,"organizationId":3,"updatedFields":[{"name":"userID","value":"u-1"}]}]`)
	})
	got, err := serve(t, fake).UpdateDocuments(t.Context(), []DocumentUpdate{
		{ID: 9, Name: "Ada Sample", Fields: Fields{"userID": Text("u-1"), "summary": Clear()}}, {ID: 10},
	})
	if err != nil || len(got) != 1 || got[0].ID != 9 || got[0].Text("userID") != "u-1" {
		t.Errorf("got %+v, %v", got, err)
	}
	if calls := fake.made(); !slices.Equal(calls, []string{"PATCH /api/v2/organization/documents"}) {
		t.Errorf("calls %q", calls)
	}
}

func TestNoDocumentsNeedNoCall(t *testing.T) {
	fake := newFake(t, nil)
	c := serve(t, fake)
	_, err1 := c.CreateDocuments(t.Context(), nil)
	_, err2 := c.UpdateDocuments(t.Context(), nil)
	_, err3 := c.ArchiveDocuments(t.Context(), nil)
	_, err4 := c.AddRelations(t.Context(), Entity{EntityDevice, 7}, nil)
	_, err5 := c.Documents(t.Context(), DocumentQuery{OrganizationID: 3})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil || len(fake.made()) != 0 {
		t.Errorf("got %v after %v", err, fake.made())
	}
}

func TestValuesOverTheLimitAreFoundWithoutACall(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		var sent []DocumentUpdate
		if err := json.Unmarshal([]byte(strings.ReplaceAll(readBody(t, r), `"fields":{"upn":"a"}`, `"x":0`)), &sent); err != nil {
			t.Error(err)
		}
		parts := make([]string, len(sent))
		for i, d := range sent {
			parts[i] = fmt.Sprintf(`{"documentId":%d}`, d.ID)
		}
		answer(w, 200, "["+strings.Join(parts, ",")+"]")
	})
	c := serve(t, fake)
	updates := []DocumentUpdate{
		{ID: 1, Fields: Fields{"upn": Text("a")}},
		{ID: 2, Fields: Fields{"upn": Text(strings.Repeat("a", MaxText+1))}},
		{ID: 3, Fields: Fields{"upn": Text("a")}},
	}
	accepted, refused, err := SplitRefused(t.Context(), updates, c.UpdateDocuments)
	if err != nil || len(accepted) != 2 || len(refused) != 1 || refused[1] == nil {
		t.Errorf("got %v, %v, %v", accepted, refused, err)
	}
	if n := len(fake.made()); n != 2 {
		t.Errorf("%d calls", n)
	}
}

// archiver is a NinjaOne that archives documents.
type archiver struct {
	gone      map[int]bool
	noBatches func(w http.ResponseWriter) // set: the answer of the batch path
	archived  []int
}

func (a *archiver) serve(w http.ResponseWriter, r *http.Request) {
	var ids []int
	if r.URL.Path == "/v2/organization/documents/archive" {
		if a.noBatches != nil {
			a.noBatches(w)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&ids); err != nil {
			answer(w, 400, `{}`)
			return
		}
	} else {
		var id int
		if _, err := fmt.Sscanf(r.URL.Path, "/v2/organization/document/%d/archive", &id); err != nil {
			answer(w, 404, `{}`)
			return
		}
		ids = []int{id}
	}
	for _, id := range ids {
		if a.gone[id] {
			answer(w, 404, `{"resultCode":"NOT_FOUND"}`)
			return
		}
	}
	a.archived = append(a.archived, ids...)
	answer(w, 200, `[]`)
}

func TestArchiveDocuments(t *testing.T) {
	missing := func(w http.ResponseWriter) { page(w, 404, "<h1>Not Found</h1>") }
	unknown := func(w http.ResponseWriter) { answer(w, 404, `{}`) }
	notAllowed := func(w http.ResponseWriter) { answer(w, 405, `{}`) }
	for _, tt := range []struct {
		name     string
		ninja    archiver
		ids      []int
		refused  []int
		maxCalls int
	}{
		{"a batch", archiver{}, []int{5, 3, 5, 4}, nil, 1},
		{"more than a batch", archiver{}, upTo(151)[1:], nil, 2},
		{"a single one", archiver{}, []int{5}, nil, 1},
		{"one is gone", archiver{gone: map[int]bool{4: true}}, upTo(33)[1:], []int{4}, 11},
		{"no such path", archiver{noBatches: missing}, upTo(21)[1:], nil, 26},
		{"path not known to the application", archiver{noBatches: unknown}, upTo(21)[1:], nil, 26},
		{"method not known", archiver{noBatches: notAllowed, gone: map[int]bool{7: true}}, upTo(21)[1:], []int{7}, 26},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake(t, tt.ninja.serve)
			refused, err := serve(t, fake).ArchiveDocuments(t.Context(), tt.ids)
			if err != nil {
				t.Fatal(err)
			}
			want := map[int]bool{}
			for _, id := range tt.ids {
				want[id] = true
			}
			for _, id := range tt.refused {
				delete(want, id)
				if !errors.Is(refused[id], ErrNotFound) {
					t.Errorf("document %d: %v", id, refused[id])
				}
			}
			got := map[int]bool{}
			for _, id := range tt.ninja.archived {
				got[id] = true
			}
			if !cmp.Equal(got, want) || len(refused) != len(tt.refused) || len(tt.ninja.archived) != len(want) {
				t.Errorf("archived %v, refused %v", tt.ninja.archived, refused)
			}
			if n := len(fake.made()); n > tt.maxCalls {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestArchivingStopsAtOtherFailures(t *testing.T) {
	fake := newFake(t, status(403, `{}`))
	refused, err := serve(t, fake).ArchiveDocuments(t.Context(), []int{1, 2, 3})
	if !errors.Is(err, ErrForbidden) || len(refused) != 0 || len(fake.made()) != 1 {
		t.Errorf("got %v, %v after %v", refused, err, fake.made())
	}
}

func TestArchivingIsRepeatedAfterPassingFailures(t *testing.T) {
	simulate(t, func(t *testing.T) {
		s := &script{steps: []http.HandlerFunc{status(502, `{}`)}}
		refused, err := inProcess(t, newFake(t, s.serve)).ArchiveDocuments(t.Context(), []int{1, 2})
		if err != nil || len(refused) != 0 || s.n.Load() != 2 {
			t.Errorf("got %v, %v after %d calls", refused, err, s.n.Load())
		}
	})
}

func readBody(t *testing.T, r *http.Request) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func FuzzDocument(f *testing.F) {
	f.Add(adasDocument)
	f.Add(`{"documentId":1,"fields":[{"name":"a","value":{"text":7,"html":null}}],"archived":{}}`)
	f.Add(`{"updatedFields":[{"name":"a","value":[1]},{}],"documentUpdateTime":-1e300}`)
	f.Fuzz(func(t *testing.T, in string) {
		var w wireDocument
		if json.Unmarshal([]byte(in), &w) != nil {
			return
		}
		d := w.document(keepFields([]string{"a"}))
		for _, field := range d.Fields {
			if field.Name != "a" || field.Text == "" {
				t.Errorf("kept %q", field)
			}
		}
	})
}
