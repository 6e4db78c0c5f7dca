package cipp

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/tenant"
)

// standardsTemplate is the column JSON of a standards template.
type standardsTemplate struct {
	TemplateName    lenientText
	TenantFilter    json.RawMessage // targets
	ExcludedTenants json.RawMessage // targets, or their values alone
	RunManually     lenientBool
	Standards       map[string]json.RawMessage // one standard, or several of the kind
}

// target is a tenant, AllTenants, or a group of tenants.
type target struct {
	value lenientText
	group bool
}

// UnmarshalJSON accepts the value alone in place of the object.
func (t *target) UnmarshalJSON(data []byte) error {
	var o struct{ Type lenientText }
	_ = json.Unmarshal(data, &o) // a value alone has no type
	t.group = strings.EqualFold(string(o.Type), "Group")
	return json.Unmarshal(data, &t.value)
}

// standardSettings is one use of a standard; the booleans are its older form.
type standardSettings struct {
	Action                   json.RawMessage
	Report, Alert, Remediate lenientBool
	TemplateList             json.RawMessage // templates that it deploys
	Tags                     json.RawMessage `json:"TemplateList-Tags"` // of templates that it deploys
}

// deployed is a template that a standard deploys, or a tag of some: its name when the
// standard was saved, and its id.
type deployed struct{ Label, Value lenientText }

// deployedPartitions are the partitions of the templates that standards deploy.
var deployedPartitions = map[string]string{"intunetemplate": "IntuneTemplate", "conditionalaccesstemplate": "CATemplate", "grouptemplate": "GroupTemplate"}

// nameDeployed names a template that a standard deploys. The name is the standard's, else
// that of table templates; "" when neither has one.
func (s *Store) nameDeployed(ctx context.Context, standard string, d deployed) string {
	id, partition := guid.Parse(string(d.Value)), deployedPartitions[strings.ToLower(standard)]
	if name := string(d.Label); name != "" && guid.Parse(name) == "" || id == "" || partition == "" {
		return name
	}
	var template struct{ DisplayName lenientText }
	text, err := s.value(ctx, tableTemplates, partition, id, "JSON")
	if err != nil || json.Unmarshal([]byte(text), &template) != nil {
		s.deps.Log.WarnContext(ctx, "a template that CIPP's standards deploy cannot be read, so its name is left out", "template", id, "error", err)
	}
	return string(template.DisplayName)
}

// Standards returns the CIPP standards that apply to a tenant, by template and name. It
// is a best effort, which does not resolve templates that apply by a tenant group. A
// standard in a template for the tenant hides the same one in a template for all tenants.
// The part is absent when CIPP has no templates, or when only templates for groups could
// apply.
func (s *Store) Standards(ctx context.Context, c *Common, ref tenant.Ref) tenant.Part[[]tenant.Standard] {
	name := func(standard string, d deployed) string { return s.nameDeployed(ctx, standard, d) }
	groups := 0
	all := map[string][]tenant.Standard{} // by standard, from templates for all tenants
	own := map[string][]tenant.Standard{}
	for _, e := range c.templates {
		var t standardsTemplate
		targets, excluded, err := t.parse(e.String("JSON"))
		if err != nil {
			s.deps.Log.WarnContext(ctx, "a standards template of CIPP cannot be read and is left out", "template", e.RowKey(), "error", err)
			continue
		}
		switch {
		case bool(t.RunManually), slices.ContainsFunc(excluded, func(x target) bool { return x.is(ref) }):
		case slices.ContainsFunc(targets, func(x target) bool { return x.is(ref) }):
			t.collect(own, name)
		case slices.ContainsFunc(targets, func(x target) bool { return strings.EqualFold(string(x.value), "AllTenants") }):
			t.collect(all, name)
		case slices.ContainsFunc(targets, func(x target) bool { return x.group }):
			groups++
		}
	}
	maps.Copy(all, own)
	standards := slices.Concat(slices.Collect(maps.Values(all))...)
	slices.SortFunc(standards, func(a, b tenant.Standard) int {
		return cmp.Or(cmp.Compare(a.Template, b.Template), cmp.Compare(a.Name, b.Name), slices.Compare(a.Deploys, b.Deploys), slices.Compare(a.Actions, b.Actions))
	})
	switch {
	case len(c.templates) == 0:
		return tenant.Absent[[]tenant.Standard]("CIPP has no standards templates")
	case len(standards) == 0 && groups > 0:
		return tenant.Absent[[]tenant.Standard]("CIPP's standards templates apply by tenant groups, which are not resolved here")
	}
	return tenant.Present(standards)
}

func (t *standardsTemplate) parse(text string) (targets, excluded []target, err error) {
	if err := json.Unmarshal([]byte(text), t); err != nil {
		return nil, nil, err
	}
	if targets, err = oneOrMany[target](t.TenantFilter); err != nil {
		return nil, nil, err
	}
	excluded, err = oneOrMany[target](t.ExcludedTenants)
	return targets, excluded, err
}

// is reports whether the target is the tenant itself.
func (t target) is(ref tenant.Ref) bool {
	same := func(name string) bool { return name != "" && strings.EqualFold(string(t.value), name) }
	return same(ref.DefaultDomain) || same(ref.InitialDomain) || same(ref.ID)
}

// collect adds the template's standards that do anything, by name. What they deploy
// is named by nameOf.
func (t *standardsTemplate) collect(to map[string][]tenant.Standard, nameOf func(standard string, d deployed) string) {
	for name, raw := range t.Standards {
		uses, err := oneOrMany[standardSettings](raw)
		if err != nil {
			continue // not a standard
		}
		for _, use := range uses {
			actions := use.actions()
			if len(actions) == 0 {
				continue
			}
			var deploys []string
			for _, list := range []json.RawMessage{use.TemplateList, use.Tags} {
				templates, _ := oneOrMany[deployed](list)
				for _, d := range templates {
					if name := nameOf(name, d); name != "" {
						deploys = append(deploys, name)
					}
				}
			}
			to[name] = append(to[name], tenant.Standard{Template: string(t.TemplateName), Name: name, Deploys: deploys, Actions: actions})
		}
	}
}

func (u standardSettings) actions() []string {
	found := map[string]bool{"Report": bool(u.Report), "Alert": bool(u.Alert), "Remediate": bool(u.Remediate)}
	actions, _ := oneOrMany[lenientText](u.Action)
	for _, a := range actions {
		switch strings.ToLower(string(a)) {
		case "report":
			found["Report"] = true
		case "alert", "warn":
			found["Alert"] = true
		case "remediate":
			found["Remediate"] = true
		}
	}
	var names []string
	for _, name := range []string{"Report", "Alert", "Remediate"} {
		if found[name] {
			names = append(names, name)
		}
	}
	return names
}
