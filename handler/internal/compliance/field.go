package compliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// fieldLife is how long what NinjaOne says of the field counts before it is
// asked again, and how long a field that NinjaOne refused is left alone.
const fieldLife = time.Hour

type fieldKey struct{ instance, mapped string }

// definition is what NinjaOne says of the field.
type definition struct {
	name    string // as NinjaOne spells it
	problem string // why it cannot be written; "" when it can
	read    time.Time
}

// fieldError says that the field cannot be written as it is set up.
type fieldError struct{ problem string }

func (e *fieldError) Error() string { return e.problem }

func (j *job) fieldKey() fieldKey { return fieldKey{j.to.Organization.Instance, j.to.Mapped} }

// connect finds out how and where to write. The error is a *fieldError when the
// field cannot be written.
func (j *job) connect(ctx context.Context) (err error) {
	if j.client, err = j.NinjaOne(j.to.Config); err != nil {
		return fmt.Errorf("call NinjaOne: %w", err)
	}
	good := func(d definition) bool { return j.Now().Sub(d.read) < fieldLife }
	d, err := j.fields.Get(ctx, j.fieldKey(), good, func(ctx context.Context, _ definition) (definition, error) {
		ctx, err := j.paced(ctx)
		if err != nil {
			return definition{}, err
		}
		all, err := j.client.CustomFields(ctx)
		if err != nil {
			return definition{}, fmt.Errorf("read NinjaOne's custom fields: %w", err)
		}
		return j.define(all), nil
	})
	if err != nil {
		return err
	}
	if d.problem != "" {
		return &fieldError{d.problem}
	}
	j.field = d.name
	return nil
}

func (j *job) define(all []ninjaone.CustomField) definition {
	i := slices.IndexFunc(all, func(f ninjaone.CustomField) bool { return strings.EqualFold(f.Name, j.to.Mapped) })
	if i < 0 {
		return definition{read: j.Now(), problem: fmt.Sprintf("the NinjaOne custom field %q does not exist: create it, or map another one in CIPP", j.to.Mapped)}
	}
	d := definition{read: j.Now(), name: all[i].Name}
	if why := all[i].Unfit(ninjaone.ScopeNode, ninjaone.TypeText); why != "" {
		d.problem = fmt.Sprintf("the NinjaOne custom field %q cannot hold compliance, because %s", d.name, why)
	}
	return d
}

// refused leaves the field alone for a while, and says which device's write was
// refused, and why.
func (j *job) refused(deviceID int, why error) error {
	j.fields.Put(j.fieldKey(), definition{read: j.Now(), problem: fmt.Sprintf("NinjaOne refused the custom field %q a short while ago", j.field)})
	return &fieldError{fmt.Sprintf("NinjaOne refused the custom field %q on device %d: %v", j.field, deviceID, why)}
}
