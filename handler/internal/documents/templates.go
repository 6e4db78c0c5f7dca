package documents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// blueprint is what one of the two templates has to be. The names are CIPP's,
// so that customers of CIPP's own integration keep their documents.
type blueprint struct {
	kind        ledger.Kind
	name        string
	description string
	idField     string // holds the user or SKU id
	noun        string // for messages
	fields      []ninjaone.TemplateField
}

var userBlueprint = blueprint{
	kind: ledger.KindUser, name: "CIPP - Microsoft 365 Users", idField: compose.FieldUserID, noun: "user",
	description: "Users of Microsoft 365. Written automatically; changes by hand are overwritten.",
	fields: []ninjaone.TemplateField{
		page(compose.FieldUserLinks, "User Links"),
		page(compose.FieldUserSummary, "User Summary"),
		page(compose.FieldUserDevices, "User Devices"),
		page(compose.FieldUserGroups, "User Groups"),
		text(compose.FieldUserID, "User ID"),
		text(compose.FieldUserUPN, "User UPN"),
		text(compose.FieldTenantID, "Tenant ID"),
	},
}

var licenseBlueprint = blueprint{
	kind: ledger.KindLicense, name: "CIPP - Microsoft 365 Licenses", idField: compose.FieldLicenseID, noun: "licence",
	description: "Licences of Microsoft 365. Written automatically; changes by hand are overwritten.",
	fields: []ninjaone.TemplateField{
		page(compose.FieldLicenseSummary, "License Summary"),
		page(compose.FieldLicenseUsers, "License Users"),
		text(compose.FieldLicenseID, "License ID"),
		text(compose.FieldTenantID, "Tenant ID"),
	},
}

func page(name, label string) ninjaone.TemplateField {
	f := text(name, label)
	f.Type, f.Expanded = ninjaone.TypeWYSIWYG, true
	return f
}

func text(name, label string) ninjaone.TemplateField {
	return ninjaone.TemplateField{
		Name: name, Label: label, Type: ninjaone.TypeText,
		TechnicianPermission: ninjaone.PermissionReadOnly,
		ScriptPermission:     ninjaone.PermissionNone,
		APIPermission:        ninjaone.PermissionReadWrite,
	}
}

// chosen is the template that is used of those with a blueprint's name.
type chosen struct {
	template   ninjaone.Template
	found      bool
	duplicates []int // further templates of the name, not used
	archived   bool  // there is an archived one of the name
	renamed    bool  // it has another name
}

// choose takes the template with the lowest id that is not archived, as CIPP does. Where
// none has the name, it takes a renamed one, which has all our fields. A new one would
// document everybody once more, and nobody would keep the old documents up to date.
func choose(templates []ninjaone.Template, b blueprint) (c chosen) {
	templates = slices.SortedFunc(slices.Values(templates), func(a, b ninjaone.Template) int { return cmp.Compare(a.ID, b.ID) })
	for _, t := range templates {
		switch {
		case t.Name != b.name:
		case t.Archived:
			c.archived = true
		case c.found:
			c.duplicates = append(c.duplicates, t.ID)
		default:
			c.template, c.found = t, true
		}
	}
	for _, t := range templates {
		if !c.found && !t.Archived && t.AllowMultiple && b.complete(t) {
			c.template, c.found, c.renamed = t, true, true
		}
	}
	return c
}

// unusable says why a template cannot hold our documents; "" when it can.
func (b blueprint) unusable(t ninjaone.Template) string {
	if !t.AllowMultiple {
		return "it allows only one document per organization, which cannot be changed: rename it, and a new one is created"
	}
	for _, want := range b.fields {
		f, has := t.Field(want.Name)
		switch {
		case !has:
			return fmt.Sprintf("its field %q could not be added", want.Name)
		case f.Type != want.Type:
			return fmt.Sprintf("its field %q has the type %s, and must have the type %s", want.Name, f.Type, want.Type)
		case f.APIPermission != ninjaone.PermissionReadWrite:
			return fmt.Sprintf("its field %q has the API permission %s: set it to Read/Write", want.Name, f.APIPermission)
		}
	}
	return ""
}

// complete reports whether the template has all fields of the blueprint.
func (b blueprint) complete(t ninjaone.Template) bool {
	_, added := t.WithFields(b.fields)
	return len(added) == 0
}

// templateChange is what is to become of a template.
type templateChange struct {
	blueprint
	template ninjaone.Template
	added    []string // fields; nil when the template is to be created
	archived bool     // there is an archived one of the name
}

// planTemplates returns which templates the run must create or complete.
func (r *run) planTemplates(kinds []blueprint, list []ninjaone.Template) (changes []templateChange) {
	for _, b := range kinds {
		c := choose(list, b)
		switch {
		case !c.found && !r.doubted[b.kind]:
			t := ninjaone.Template{Name: b.name, Description: b.description, AllowMultiple: true, Fields: b.fields}
			changes = append(changes, templateChange{b, t, nil, c.archived})
		case c.found && !b.complete(c.template):
			merged, added := c.template.WithFields(b.fields)
			changes = append(changes, templateChange{b, merged, added, c.archived})
		}
	}
	return changes
}

// with returns the list with a template in place of the one of its id.
func with(list []ninjaone.Template, t ninjaone.Template) []ninjaone.Template {
	return append(slices.DeleteFunc(list, func(old ninjaone.Template) bool { return old.ID == t.ID }), t)
}

// readTemplates reads the templates; nil when they could not be read. A list that lacks
// the template of our documents does not prove that it is gone. So NinjaOne is asked for
// it by its id.
func (r *run) readTemplates(ctx context.Context, kinds []blueprint) ([]ninjaone.Template, error) {
	list, err := r.in.Client.Templates(ctx)
	if err != nil {
		return nil, r.noTemplates(ctx, err)
	}
	list = append([]ninjaone.Template{}, list...)
	r.doubted, r.templateIDs = map[ledger.Kind]bool{}, map[int]bool{}
	for _, t := range list {
		r.templateIDs[t.ID] = true
	}
	for _, b := range kinds {
		if c := choose(list, b); c.found && b.complete(c.template) {
			continue // begin asks, should it not be the remembered one
		}
		t, shown, err := r.unlistedTemplate(ctx, b, r.progress.Template[b.kind])
		if err != nil {
			return nil, err
		}
		if shown {
			list = append(list, t)
		}
	}
	return list, nil
}

// unlistedTemplate asks NinjaOne for our documents' template when the list lacks it. It
// reports whether the template exists. Where that stays unknown, this run doubts the
// template and makes none in its place.
func (r *run) unlistedTemplate(ctx context.Context, b blueprint, id int) (ninjaone.Template, bool, error) {
	if id == 0 || r.templateIDs[id] {
		return ninjaone.Template{}, false, nil
	}
	t, err := r.in.Client.Template(ctx, id)
	switch {
	case errors.Is(err, ninjaone.ErrNotFound):
		return ninjaone.Template{}, false, nil
	case err != nil && !ninjaone.Tolerable(ctx, err):
		return ninjaone.Template{}, false, err
	case err != nil:
		r.doubted[b.kind] = true
		r.in.Problems.Add("documents:unlisted:template:"+string(b.kind), "NinjaOne's list of document templates lacks the template %d of the documents of each %s. None of them were written, since what became of it could not be looked up: %s", id, b.noun, words.End(err.Error()))
		return ninjaone.Template{}, false, nil
	case !t.Archived:
		r.in.Problems.Add("documents:unlisted:template:"+string(b.kind), "NinjaOne's list of document templates lacks the template %q (%d), which NinjaOne shows. It is taken to be there. If this lasts, ask NinjaOne's support.", t.Name, id)
	}
	return t, true, nil
}

// usable returns the template of a list that can hold documents of a kind. What is
// wrong with it is a problem.
func (r *run) usable(b blueprint, list []ninjaone.Template) (ninjaone.Template, bool) {
	c := choose(list, b)
	if !c.found {
		return c.template, false // said while it was set up
	}
	if len(c.duplicates) > 0 {
		r.in.Problems.Add("documents:duplicate:"+string(b.kind), "NinjaOne has several document templates named %q. The one with the lowest id, %d, is used; move what is needed from the others (%s) and delete them.",
			b.name, c.template.ID, strings.Trim(fmt.Sprint(c.duplicates), "[]"))
	}
	if c.renamed {
		r.in.Problems.Add("documents:renamed:"+string(b.kind), "The NinjaOne document template %q (%d) was renamed to %q. Its documents are still kept up to date; give it its name back, because CIPP knows it by its name.",
			b.name, c.template.ID, c.template.Name)
	}
	why := b.unusable(c.template)
	if why != "" {
		r.in.Problems.Add("documents:template:"+string(b.kind), "Documents of each %s are not written: the NinjaOne document template %q (%d) cannot be used, because %s.", b.noun, b.name, c.template.ID, why)
	}
	return c.template, why == ""
}

// noTemplates tells that the templates could not be read.
func (r *run) noTemplates(ctx context.Context, err error) error {
	if !ninjaone.Tolerable(ctx, err) {
		return err
	}
	if errors.Is(err, ninjaone.ErrNoDocumentation) {
		r.in.Problems.Add("documents:unavailable", "Documents are turned on in CIPP, but cannot be written; the custom fields are. %s Enable Documentation in NinjaOne, or turn documents off in CIPP.", words.End(err.Error()))
		return nil
	}
	r.in.Problems.Add("documents:templates", "The document templates of NinjaOne could not be read, so no documents were written: %s", words.End(err.Error()))
	return nil
}

const (
	setUpLease = 60 * time.Second       // renewed while the templates are set up
	setUpWait  = 2 * time.Minute        // for another run that sets them up
	setUpPoll  = 500 * time.Millisecond // between attempts
)

// setUp creates and completes templates. Of several tenants that start together, a lease
// lets only one do so. Each reads the templates again once it has the lease. It returns
// the templates afterwards, or nil when another run holds the lease for too long.
func (r *run) setUp(ctx context.Context, kinds []blueprint, _ []ninjaone.Template) ([]ninjaone.Template, error) {
	lease, err := r.lease(ctx)
	if errors.Is(err, storage.ErrLeaseTaken) {
		r.in.Problems.Add("documents:templates", "Another run was still setting up NinjaOne's document templates, so no documents were written; the next run will.")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	ctx = lease.Context()
	list, err := r.readTemplates(ctx, kinds)
	if err != nil || list == nil {
		return nil, err
	}
	for _, c := range r.planTemplates(kinds, list) {
		t, err := r.changeTemplate(ctx, c)
		if err == nil {
			r.result.Templates++
			list = with(list, t)
			continue
		}
		if !ninjaone.Tolerable(ctx, err) {
			return nil, err
		}
		hint := ""
		if c.archived && c.added == nil {
			hint = " An archived template has that name: restore or delete it in NinjaOne."
		}
		r.in.Problems.Add("documents:template:"+string(c.kind), "The NinjaOne document template %q could not be set up: %s%s", c.name, words.End(err.Error()), hint)
		list = slices.DeleteFunc(list, func(t ninjaone.Template) bool { return t.Name == c.name })
	}
	return list, nil
}

// lease waits for its turn to set up templates.
func (r *run) lease(ctx context.Context) (*storage.Lease, error) {
	began := time.Now()
	for waits := false; ; waits = true {
		lease, err := r.Blobs.Lease(ctx, "lease/"+r.in.Instance+"/document-templates", setUpLease)
		if !errors.Is(err, storage.ErrLeaseTaken) || time.Since(began) >= setUpWait {
			return lease, err
		}
		if !waits {
			r.log.InfoContext(ctx, "another run is setting up the document templates; this one waits")
		}
		if err := retry.Sleep(ctx, setUpPoll); err != nil {
			return nil, err
		}
	}
}

// changeTemplate creates or completes a template. When the answer to a creation is
// lost, reading tells whether it exists.
func (r *run) changeTemplate(ctx context.Context, c templateChange) (ninjaone.Template, error) {
	if c.added != nil {
		r.log.InfoContext(ctx, "fields are added to a document template", "template", c.template.ID, "fields", c.added)
		return r.in.Client.UpdateTemplate(ctx, c.template)
	}
	t, err := r.in.Client.CreateTemplate(ctx, c.template)
	if !errors.Is(err, ninjaone.ErrOutcomeUnknown) || ctx.Err() != nil {
		return t, err
	}
	list, readErr := r.in.Client.Templates(ctx)
	if readErr != nil {
		return t, fmt.Errorf("%w; and then: %w", err, readErr)
	}
	if made := choose(list, c.blueprint); made.found {
		return made.template, nil
	}
	return t, err
}
