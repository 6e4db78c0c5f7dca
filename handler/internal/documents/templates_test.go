package documents

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/sandbox/ninjasim"
)

func TestTemplates(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*world)
		problem string // key of the problem; "" for none
		created int
	}{
		"archived one of the name": {prepare: func(w *world) {
			w.AddTemplate(ninjasim.Template{Name: userBlueprint.name, AllowMultiple: true, Archived: true})
		}, created: 5},
		"one document per organization": {prepare: func(w *world) {
			w.AddTemplate(ninjasim.Template{Name: userBlueprint.name})
		}, problem: "documents:template:user", created: 2},
		"field of another type": {prepare: func(w *world) {
			w.AddTemplate(ninjasim.Template{Name: userBlueprint.name, AllowMultiple: true, Items: []ninjasim.TemplateItem{{Name: compose.FieldUserSummary, Type: "TEXT", APIPermission: "READ_WRITE"}}})
		}, problem: "documents:template:user", created: 2},
		"field that may not be written": {prepare: func(w *world) {
			w.AddTemplate(ninjasim.Template{Name: licenseBlueprint.name, AllowMultiple: true, Items: []ninjasim.TemplateItem{{Name: compose.FieldLicenseID, Type: "TEXT", APIPermission: "READ_ONLY"}}})
		}, problem: "documents:template:license", created: 3},
		"two of the name": {prepare: func(w *world) {
			w.AddTemplate(ninjasim.Template{Name: userBlueprint.name, AllowMultiple: true})
			w.AddTemplate(ninjasim.Template{Name: userBlueprint.name, AllowMultiple: true})
		}, problem: "documents:duplicate:user", created: 5},
		"creation refused": {prepare: func(w *world) {
			w.InjectFault(ninjasim.Fault{Method: http.MethodPost, Path: "document-templates$", Status: 400, Count: 1, Body: `{"resultCode":"FAILURE","errorMessage":"no"}`})
		}, problem: "documents:template:user", created: 2},
		"answer to the creation lost": {prepare: func(w *world) {
			w.loseFirst(1, http.MethodPost, "/document-templates")
		}, created: 5},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, _ := small(t)
			tt.prepare(w)
			r, err := w.run(t.Context(), m)
			must(t, err)
			if r.Created != tt.created || len(w.problems()) != min(1, len(tt.problem)) || tt.problem != "" && w.problems()[tt.problem] == "" {
				t.Errorf("%+v, %v", r, w.problems())
			}
			seen := map[string]int{}
			for _, tmpl := range w.Templates() {
				if !tmpl.Archived {
					seen[tmpl.Name]++
				}
			}
			if name != "two of the name" && seen[userBlueprint.name] > 1 {
				t.Errorf("templates: %v", seen)
			}
		})
	}
}

func TestTemplateReplaced(t *testing.T) {
	w, m, _ := small(t)
	w.sync(m)
	w.ArchiveTemplate(w.template(userBlueprint), true)
	if r := w.sync(m); r.Created != 3 || r.Related != 6 {
		t.Errorf("after the template was archived: %+v", r)
	}
	w.verify(m)
}

// TestTemplateRenamed has a technician rename the template of users: their
// documents stay where they are, and nobody is documented twice.
func TestTemplateRenamed(t *testing.T) {
	w, m, users := small(t)
	w.sync(m)
	id := w.template(userBlueprint)
	w.RenameTemplate(id, "People")
	m.users[users[0]].title = "New"
	if p := w.preview(m); len(p.Notes) > 0 || foretold(p).Updated != 1 {
		t.Errorf("the preview: %v, %+v", p.Notes, foretold(p))
	}
	r, err := w.run(t.Context(), m)
	if err != nil || r.Updated != 1 || r.Created != 0 || len(w.Templates()) != 2 || !strings.Contains(w.problems()["documents:renamed:user"], `renamed to "People"`) {
		t.Errorf("%+v, %v, %v, %d templates", r, err, w.problems(), len(w.Templates()))
	}
	// So it is for a tenant that is new.
	other := &model{id: uuid.NewString(), domain: "tenant9.example", users: map[string]*person{}, skus: map[string]string{}, devices: map[string]gadget{}}
	other.join("Zoe")
	w.tenants = append(w.tenants, other)
	if r, err := w.run(t.Context(), other); err != nil || r.Created != 1 || len(w.Templates()) != 2 {
		t.Errorf("another tenant: %+v, %v, %d templates", r, err, len(w.Templates()))
	}
	w.tenants = w.tenants[:1]
	w.RenameTemplate(id, userBlueprint.name)
	w.sync(m)
	w.verify(m)
}

// lines tells of each line of a log that holds a text.
type lines struct {
	text string
	seen chan struct{}
}

func (l lines) Write(line []byte) (int, error) {
	if strings.Contains(string(line), l.text) {
		l.seen <- struct{}{}
	}
	return len(line), nil
}

// TestTemplatesAreMadeOnce lets three tenants start together: the first creates
// the templates only after it kept the two others waiting.
func TestTemplatesAreMadeOnce(t *testing.T) {
	w := newWorld(t, 3)
	waiting := lines{"this one waits", make(chan struct{}, 2)}
	w.syncer.Log = slog.New(slog.NewTextHandler(waiting, nil))
	w.InjectFault(ninjasim.Fault{Method: http.MethodPost, Path: "document-templates$", Count: 1, OnHit: func() {
		for range 2 {
			select {
			case <-waiting.seen:
			case <-t.Context().Done():
			}
		}
	}})
	errs, told := make(chan error), &problems.Collector{}
	for _, m := range w.tenants {
		m.buy("SPE_E3")
		m.join("Ada")
		in := Input{Client: w.client, Instance: instance, OrganizationID: organization, Sharing: []string{m.id}, Compose: w.input(m), Users: true, Licenses: true, Problems: told, DeviceUnsure: func(int) bool { return false }}
		go func() {
			_, err := w.syncer.Sync(t.Context(), in)
			errs <- err
		}()
	}
	for range w.tenants {
		must(t, <-errs)
	}
	if list := told.List(); len(list) > 0 {
		t.Errorf("told: %+v", list)
	}
	if n := len(w.Templates()); n != 2 {
		t.Errorf("there are %d templates", n)
	}
}

// listed is a list of one template that is as a blueprint wants it.
func listed(id int, b blueprint) string {
	var fields []string
	for _, f := range b.fields {
		fields = append(fields, fmt.Sprintf(`{"fieldId":%d,"fieldName":%q,"fieldLabel":%q,"fieldType":%q,"fieldApiPermission":"READ_WRITE"}`, id+len(fields), f.Name, f.Label, f.Type))
	}
	return fmt.Sprintf(`[{"id":%d,"name":%q,"allowMultiple":true,"fields":[%s]}]`, id, b.name, strings.Join(fields, ","))
}

// TestListThatLacksTheTemplate answers a list of templates without that of our
// documents, as none or as one of the same name in its place. That it is missing
// there proves nothing: none is made, and nobody is documented twice.
func TestListThatLacksTheTemplate(t *testing.T) {
	for name, tt := range map[string]struct {
		list string
		byID ninjasim.Fault // of the answer to the template's id
		made int            // documents made anew
		key  string
	}{
		"an empty list": {list: `[]`, key: "documents:unlisted:template:user"},
		"another one of the name": {list: `[{"id":900,"name":"CIPP - Microsoft 365 Users","allowMultiple":true,"fields":[]}]`,
			key: "documents:unlisted:template:user"},
		"another one that has all fields": {list: listed(900, userBlueprint), key: "documents:unlisted:template:user"},
		"and it cannot be asked for":      {list: `[]`, byID: ninjasim.Fault{Status: 403, Body: `{"resultCode":"FAILURE"}`}, key: "documents:unlisted:template:user"},
		"and it is gone":                  {list: ``, made: 3},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			w.sync(m)
			m.users[users[0]].title = "Head of all"
			before := len(w.Templates())
			if tt.list != "" {
				w.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "document-templates$", Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: tt.list})
			} else {
				w.RemoveTemplate(w.template(userBlueprint))
				before--
			}
			if tt.byID.Status != 0 {
				tt.byID.Method, tt.byID.Path = http.MethodGet, "document-templates/[0-9]+$"
				w.InjectFault(tt.byID)
			}
			r, err := w.run(t.Context(), m)
			must(t, err)
			made := len(w.Templates()) - before
			if r.Created != tt.made || made != min(1, tt.made) || (tt.key != "") != (w.problems()[tt.key] != "") {
				t.Errorf("%d templates made, %+v, %v", made, r, w.problems())
			}
			if shown := tt.made == 0 && tt.byID.Status == 0 && name != "another one that has all fields"; shown && r.Updated == 0 {
				t.Errorf("the template is there, and its documents are not kept up to date: %+v", r)
			}
			w.ClearFaults()
			w.sync(m)
			w.verify(m)
		})
	}
}
