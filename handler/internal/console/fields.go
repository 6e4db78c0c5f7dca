package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/words"
)

// fieldRow is one of CIPP's fields with the custom field that it goes to.
type fieldRow struct {
	settings.Field
	Choices []option
	Chosen  string // API name; "" for none
	Problem string // why the chosen field cannot be written
}

// ScopeWord is the scope as NinjaOne's own pages call it.
func (r fieldRow) ScopeWord() string { return ninjaone.ScopeWords[r.Scope] }

// TypeWord is the type as NinjaOne's own pages call it.
func (r fieldRow) TypeWord() string {
	return map[string]string{ninjaone.TypeWYSIWYG: "WYSIWYG", ninjaone.TypeText: "Text", ninjaone.TypeLines: "Multi-line"}[r.Types[0]]
}

// AutomationsWord is the permission for automations as NinjaOne's own pages call it.
// Conditions and scripts are what the compliance is for.
func (r fieldRow) AutomationsWord() string {
	return map[bool]string{true: "Read Only", false: "None"}[isText(r.Name)]
}

type fieldsPage struct {
	Rows     []fieldRow
	Readable bool // NinjaOne's custom fields could be read
	Missing  bool // at least one field is not mapped to a usable custom field
	ByHand   bool // the instance cannot create fields: say what to do by hand
}

// definitions reads NinjaOne's custom fields, by label.
func (c *Console) definitions(ctx context.Context) ([]ninjaone.CustomField, error) {
	all, err := c.Settings.CustomFields(ctx)
	byName(all, func(f ninjaone.CustomField) string { return f.Label + f.Name })
	return all, err
}

func (c *Console) fields(x *exchange) error { return c.showFields(x, "", x.value("byhand") != "", nil) }

// showFields shows the mapping; edits, by CIPP's name, take the place of what
// is stored.
func (c *Console) showFields(x *exchange, problem string, byHand bool, edits map[string]string) error {
	choices, err := c.CIPP.FieldChoices(x.ctx())
	if err != nil {
		return err
	}
	all, err := c.definitions(x.ctx())
	if err != nil && problem == "" {
		problem = "The custom fields could not be read from NinjaOne. " + words.Sentence(err.Error())
	}
	p := fieldsPage{Readable: err == nil, ByHand: byHand}
	for _, w := range settings.Fields {
		row, label := fieldRow{Field: w, Chosen: choices[w.Name].ID}, choices[w.Name].Name
		if e, ok := edits[w.Name]; ok {
			row.Chosen = e
		}
		row.Choices = []option{{"", "Do not synchronize", row.Chosen == ""}}
		found := row.Chosen == ""
		for _, d := range all {
			chosen := strings.EqualFold(d.Name, row.Chosen)
			why := d.Unfit(w.Scope, w.Types...)
			if chosen && why != "" {
				row.Problem = fmt.Sprintf("The custom field %q is mapped, but cannot be written: %s.", d.Name, why)
			}
			if why == "" || chosen {
				row.Choices = append(row.Choices, option{d.Name, cmp.Or(d.Label, d.Name) + " (" + d.Name + ")", chosen})
			}
			found = found || chosen
		}
		if !found {
			row.Choices = append(row.Choices, option{row.Chosen, cmp.Or(label, row.Chosen) + " (" + row.Chosen + ")", true})
			if p.Readable {
				row.Problem = fmt.Sprintf("The custom field %q is mapped, but does not exist in NinjaOne: create it, or choose another one.", row.Chosen)
			}
		}
		p.Missing = p.Missing || row.Chosen == "" || row.Problem != ""
		p.Rows = append(p.Rows, row)
	}
	return c.show(x, "fields", "Fields", problem, p)
}

func (c *Console) saveFields(x *exchange) error {
	all, err := c.definitions(x.ctx())
	if err != nil {
		return c.showFields(x, "Nothing was saved: the custom fields could not be read from NinjaOne. "+words.Sentence(err.Error()), false, nil)
	}
	var choices []cipp.FieldChoice
	edits, taken := map[string]string{}, map[string]string{}
	for _, w := range settings.Fields {
		if !x.r.PostForm.Has(w.Name) {
			continue
		}
		name := x.value(w.Name)
		edits[w.Name] = name
		choice := cipp.FieldChoice{Field: w.Name, ID: name}
		if name != "" {
			i := slices.IndexFunc(all, func(d ninjaone.CustomField) bool { return strings.EqualFold(d.Name, name) })
			switch {
			case i < 0:
				return c.showFields(x, fmt.Sprintf("Nothing was saved: NinjaOne has no custom field %q.", name), false, edits)
			case all[i].Unfit(w.Scope, w.Types...) != "":
				return c.showFields(x, fmt.Sprintf("Nothing was saved: the custom field %q cannot hold %s, because %s.", name, w.Title, all[i].Unfit(w.Scope, w.Types...)), false, edits)
			case taken[name] != "":
				return c.showFields(x, fmt.Sprintf("Nothing was saved: the custom field %q is chosen for both %s and %s.", name, taken[name], w.Title), false, edits)
			}
			taken[name] = w.Title
			choice.ID, choice.Name = all[i].Name, cmp.Or(all[i].Label, all[i].Name)
		}
		choices = append(choices, choice)
	}
	if len(choices) == 0 {
		return c.showFields(x, "Nothing was saved: the form was empty.", false, nil)
	}
	if err := c.Settings.SaveFields(x.ctx(), choices); err != nil {
		return c.showFields(x, words.Sentence(err.Error()), false, edits)
	}
	return x.done("fields", "fields", 0)
}

// createFields creates the custom fields that are missing, and maps all seven.
// Doing it again creates nothing twice.
func (c *Console) createFields(x *exchange) error {
	ctx := x.ctx()
	present, err := c.CIPP.FieldChoices(ctx)
	if err != nil {
		return err
	}
	all, err := c.definitions(ctx)
	if err != nil {
		return c.showFields(x, "Nothing was created: the custom fields could not be read from NinjaOne. "+words.Sentence(err.Error()), false, nil)
	}
	client, err := c.Settings.Client(ctx)
	if err != nil {
		return err
	}
	find := func(name string) (ninjaone.CustomField, bool) {
		i := slices.IndexFunc(all, func(d ninjaone.CustomField) bool { return strings.EqualFold(d.Name, name) })
		if name == "" || i < 0 {
			return ninjaone.CustomField{}, false
		}
		return all[i], true
	}
	var choices []cipp.FieldChoice
	var problems []string
	created, byHand := 0, false
	for _, w := range settings.Fields {
		if d, ok := find(present[w.Name].ID); ok && d.Unfit(w.Scope, w.Types...) == "" {
			continue // it is mapped, and works
		}
		d, ok := find(w.Custom)
		if !ok {
			d, err = client.CreateCustomField(ctx, ninjaone.NewCustomField{
				Name: w.Custom, Label: w.CustomLabel, Description: w.Help + " Written by the Microsoft 365 synchronisation.", Type: w.Types[0], Scope: w.Scope,
				Automations: isText(w.Name),
			})
			ok = err == nil && d.Name != ""
			if !ok && !errors.Is(err, ninjaone.ErrNotFound) {
				// The answer may be lost and the field there: what counts is what
				// NinjaOne lists.
				if now, readErr := c.definitions(ctx); readErr == nil {
					all = now
					if d, ok = find(w.Custom); ok {
						err = nil
					}
				}
			}
			if errors.Is(err, ninjaone.ErrNotFound) {
				byHand = true
				problems = append(problems, "This NinjaOne instance cannot create custom fields through its API. Create them by hand, as said below, and map them here.")
				break
			}
			if err != nil || !ok {
				byHand = true
				reason := "NinjaOne accepted it, but does not list it yet: try again in a minute"
				if err != nil {
					reason = err.Error()
				}
				problems = append(problems, fmt.Sprintf("The custom field %q was not created: %s.", w.Custom, strings.TrimSuffix(reason, ".")))
				continue
			}
			created++
		}
		if why := d.Unfit(w.Scope, w.Types...); why != "" {
			byHand = true
			problems = append(problems, fmt.Sprintf("NinjaOne has a custom field %q already, but %s. Change it there, or map another field.", w.Custom, why))
			continue
		}
		choices = append(choices, cipp.FieldChoice{Field: w.Name, ID: d.Name, Name: cmp.Or(d.Label, d.Name)})
	}
	if len(choices) > 0 {
		if err := c.Settings.SaveFields(ctx, choices); err != nil {
			problems = append(problems, words.Sentence(err.Error()))
		}
	}
	c.audit(x, "custom fields were created in NinjaOne", "created", created, "mapped", len(choices), "problems", len(problems))
	if created > 0 {
		c.CIPP.Note(x.ctx(), cipp.LogEntry{API: "NinjaOne", Message: plural(created, "custom field was", "custom fields were") + " created in NinjaOne and mapped."})
	}
	if len(problems) > 0 {
		return c.showFields(x, strings.Join(problems, " "), byHand, nil)
	}
	return x.done("fields", "created", created)
}
