package tenantsync

import (
	"context"
	"fmt"
	"strings"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/storage"
)

// review brings the records in line with the fields that are mapped now.
//
// What happens to a field that is mapped but cannot be written is not known:
// it may be deleted, and made again without its values. So it is noted as
// unknown, and sent once it can be written. A field that is not mapped any
// more keeps what it shows; its notes are dropped, which is told once.
func (j *job) review(ctx context.Context, in *reading) error {
	usable, mapped := map[string]bool{}, map[string]bool{}
	for _, name := range in.fields {
		usable[name] = true
	}
	for _, name := range j.mapped {
		mapped[strings.ToLower(name)] = true
	}
	var changed []storage.Operation
	for _, r := range in.records {
		touched, dropped := false, []string(nil)
		for name, noted := range r.fields {
			switch {
			case usable[name]:
				continue
			case !mapped[strings.ToLower(name)]:
				delete(r.fields, name)
				dropped = append(dropped, name)
				j.problems.notice("unmapped:"+name, "The NinjaOne custom field %q is not mapped any more. It keeps what was last written there.", name)
			case accepted.Holds(noted) && noted != markSending:
				r.fields[name] = markSending
			default:
				continue
			}
			touched = true
		}
		if !touched {
			continue
		}
		e, err := j.State.entity(j.instance, j.mapping.OrganizationID, r)
		if err != nil {
			return err
		}
		for _, name := range dropped {
			accepted.Drop(e, name)
		}
		if r.noted != "" && !usable[r.noted] {
			e[columnField] = "" // the note in the record's fields counts from now on
		}
		changed = append(changed, storage.MergeOp(e))
	}
	if err := j.State.table.WriteBatch(ctx, changed); err != nil {
		return fmt.Errorf("note which fields of NinjaOne organization %d are mapped: %w", j.mapping.OrganizationID, err)
	}
	return nil
}
