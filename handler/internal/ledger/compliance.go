package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// claimLife is how long an unsettled claim stands for a request that may be under way.
	claimLife = 5 * time.Minute
	// claimAttempts bounds how often a claim gives way to another writer.
	claimAttempts = 8
	// syncClaim begins the id of a sync's claim.
	syncClaim = "sync-"
)

// Two writers share the fields of [Shared]. A sync writes them with a device's other
// fields, and package compliance writes them alone. Each writes from a reading of Intune,
// and the newer reading must win. So a writer claims the note of each field before it
// sends, those of both fields in one:
//
//	           claim (the row is as it was read)              accepted → Known, Cleared
//	noted ───────────────────────────────────► claimed by A ─ refused  → noted as before
//	  ▲                                            │          lost     → Unknown
//	  │                                            │ a newer reading claims
//	  │                                            ▼
//	  └── the next sync or sweep sends again ─ claimed by B: both requests may be on
//	                                           their way, so both settle as Unknown
//
// An older reading never claims over a newer one, nor over the list that the tenant's
// last sweep compared. A claim that nobody settles ends after claimLife. A sync ends a
// stopped sync's claim at once, since it holds the organization.

// errFirst says that other writers of the same rows were always first.
var errFirst = errors.New("other writers of the same device were always first; it is tried again later")

// whileOthersAreFirst repeats a write while other writers of its rows are first.
func whileOthersAreFirst(write func() error) (err error) {
	for range claimAttempts {
		err = write()
		if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrExists) && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errFirst, err)
}

// outcome is how the sending of a claimed value ended.
type outcome int

const (
	lost     outcome = iota // the request failed on the way, so that NinjaOne may hold either value
	accepted                // NinjaOne holds the value
	refused                 // NinjaOne holds what it held before
)

// MarkSwept notes when the list of a tenant's devices was read that a sweep is about to
// compare. Whatever an older reading says differently is out of date. It is called
// before Compliance reads the notes to compare.
func (l *Ledger) MarkSwept(ctx context.Context, tenantID string, read time.Time) error {
	row := storage.Entity{"PartitionKey": sweptPartition, "RowKey": tenantID, columnSwept: read.UTC()}
	return storage.Doing(l.table.Replace(ctx, row), "note when the tenant was swept")
}

func (l *Ledger) swept(ctx context.Context, tenantID string) (time.Time, error) {
	row, err := l.table.Find(ctx, sweptPartition, tenantID)
	return row.Time(columnSwept), err
}

// DeviceCompliance is what is noted of one device's shared fields.
type DeviceCompliance struct {
	TenantID string            // the tenant whose device it is
	digests  map[string]string // by NinjaOne custom field name
}

// Holds reports whether NinjaOne last accepted exactly this value.
func (d DeviceCompliance) Holds(field string, v ninjaone.Value) bool {
	return d.digests[field] == Digest(v) || v.IsClear() && d.digests[field] == ""
}

// Ours reports whether a field may hold a value of ours.
func (d DeviceCompliance) Ours(field string) bool { return Holds(d.digests[field]) }

// Changed reports whether the value differs from one that NinjaOne is known to hold.
// Then Intune's answer has changed since.
func (d DeviceCompliance) Changed(field string, v ninjaone.Value) bool {
	return d.digests[field] != "" && d.digests[field] != Unknown && !d.Holds(field, v)
}

// Compliance returns what is noted of the shared fields of an organization's devices, by
// NinjaOne's device id. Devices without a record are missing.
func (l *Ledger) Compliance(ctx context.Context, o Organization, fields Shared) (map[int]DeviceCompliance, error) {
	records, err := l.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	all := make(map[int]DeviceCompliance, len(records))
	for t, r := range records {
		if t.Kind != KindDevice {
			continue
		}
		d := DeviceCompliance{r.TenantID, map[string]string{}}
		for _, name := range fields.Names() {
			d.digests[name] = r.Fields[name]
			if digest, ok := r.settled[name]; ok {
				d.digests[name] = digest
			}
		}
		all[t.ID] = d
	}
	return all, nil
}
