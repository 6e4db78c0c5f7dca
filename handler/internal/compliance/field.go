package compliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// fieldLife is how long NinjaOne's word on a field counts. A field that NinjaOne refused
// is left alone as long.
const fieldLife = time.Hour

type fieldKey struct{ instance, cipp, mapped string }

// definition is what NinjaOne says of a field.
type definition struct {
	name     string // as NinjaOne spells it
	problem  string // why it cannot be written; "" when it can
	settings int    // UTF-16 units that it takes of DeviceNonCompliantSettings
	read     time.Time
}

// fieldError says that the fields cannot be written as they are set up.
type fieldError struct{ problem string }

func (e *fieldError) Error() string { return e.problem }

// mapping is one of the two fields that a job writes.
type mapping struct {
	cipp, mapped string
	types        []string // of NinjaOne custom fields that can hold it
	what         string   // for a technician
}

// mappings are the fields that are mapped. Of two that are mapped to one custom
// field that is the compliance's, as in a sync.
func (j *job) mappings() (all []mapping) {
	to := j.to.Mapped
	if to.Compliance != "" {
		all = append(all, mapping{assignments.FieldName, to.Compliance, []string{ninjaone.TypeText}, "compliance"})
	}
	if to.Settings != "" && !strings.EqualFold(to.Settings, to.Compliance) {
		all = append(all, mapping{assignments.SettingsName, to.Settings, []string{ninjaone.TypeLines, ninjaone.TypeText}, "the settings that fail"})
	}
	return all
}

func (j *job) fieldKey(m mapping) fieldKey {
	return fieldKey{j.to.Organization.Instance, m.cipp, m.mapped}
}

// connect finds out how and where to write. The error is a *fieldError when none of
// the fields can be written.
func (j *job) connect(ctx context.Context) (err error) {
	if j.client, err = j.NinjaOne(j.to.Config); err != nil {
		return fmt.Errorf("call NinjaOne: %w", err)
	}
	good := func(d definition) bool { return j.Now().Sub(d.read) < fieldLife }
	var listed []ninjaone.CustomField
	var problems []string
	j.fields, j.limit, j.unwritten = ledger.Shared{}, 0, nil
	for _, m := range j.mappings() {
		d, err := j.defined.Get(ctx, j.fieldKey(m), good, func(ctx context.Context, _ definition) (definition, error) {
			if listed == nil {
				ctx, err := j.paced(ctx)
				if err != nil {
					return definition{}, err
				}
				if listed, err = j.client.CustomFields(ctx); err != nil {
					return definition{}, fmt.Errorf("read NinjaOne's custom fields: %w", err)
				}
			}
			return m.define(listed, j.Now()), nil
		})
		switch {
		case err != nil:
			return err
		case d.problem != "":
			problems = append(problems, d.problem)
			if m.cipp == assignments.FieldName {
				j.unwritten = &fieldError{d.problem}
			}
		case m.cipp == assignments.FieldName:
			j.fields.Compliance = d.name
		default:
			j.fields.Settings, j.limit = d.name, d.settings
		}
	}
	if len(j.fields.Names()) == 0 {
		return &fieldError{strings.Join(problems, "; ")}
	}
	for _, p := range problems {
		j.log.DebugContext(ctx, "one of the compliance fields is not written", "reason", p)
	}
	return nil
}

func (m mapping) define(all []ninjaone.CustomField, now time.Time) definition {
	i := slices.IndexFunc(all, func(f ninjaone.CustomField) bool { return strings.EqualFold(f.Name, m.mapped) })
	if i < 0 {
		return definition{read: now, problem: fmt.Sprintf("the NinjaOne custom field %q does not exist: create it, or map another one in CIPP", m.mapped)}
	}
	d := definition{read: now, name: all[i].Name, settings: compose.SettingsLimit(all[i].Type)}
	if why := all[i].Unfit(ninjaone.ScopeNode, m.types...); why != "" {
		d.problem = fmt.Sprintf("the NinjaOne custom field %q cannot hold %s, because %s", d.name, m.what, why)
	}
	return d
}

// refused leaves the fields alone for a while that NinjaOne refused on a device. The
// error says of the first why.
func (j *job) refused(deviceID int, refusals map[string]error) error {
	var first error
	for _, m := range j.mappings() {
		name := j.fields.Compliance
		if m.cipp == assignments.SettingsName {
			name = j.fields.Settings
		}
		why := refusals[name]
		if why == nil {
			continue
		}
		j.defined.Put(j.fieldKey(m), definition{read: j.Now(), problem: fmt.Sprintf("NinjaOne refused the custom field %q a short while ago", name)})
		if first == nil {
			first = &fieldError{fmt.Sprintf("NinjaOne refused the custom field %q on device %d: %v", name, deviceID, why)}
		}
	}
	return first
}
