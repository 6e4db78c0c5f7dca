package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

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
//	           claim (the row is as it was read)              Accepted → Known, Cleared
//	noted ───────────────────────────────────► claimed by A ─ Refused  → noted as before
//	  ▲                                            │          Lost     → Unknown
//	  │                                            │ a newer reading claims
//	  │                                            ▼
//	  └── the next sync or sweep sends again ─ claimed by B: both requests may be on
//	                                           their way, so both settle as Unknown
//
// An older reading never claims over a newer one, nor over the list that the tenant's
// last sweep compared. A claim that nobody settles ends after claimLife. A sync ends a
// stopped sync's claim at once, since it holds the organization.

// ErrNewerState says that no field was claimed, because a newer reading of the device is
// known.
var ErrNewerState = errors.New("a newer compliance state is known")

// ComplianceWrite is values on their way to the shared fields of a device.
type ComplianceWrite struct {
	Organization Organization
	DeviceID     int    // NinjaOne's id
	TenantID     string // the tenant whose Intune manages the device
	Fields       Shared
	Values       ninjaone.Fields // of shared fields, by NinjaOne custom field name; others are left out
	Read         time.Time       // when the reading of Intune that says so began
	Force        bool            // send values, but not clear, even if NinjaOne holds them
	// Shown are the fields that NinjaOne may show with another value than is noted, such as
	// CIPP's. They are sent, and cleared, all the same.
	Shown map[string]bool

	// sync says that the writer is a sync, which has the organization to itself. So a claim
	// of another sync is one of a stopped sync.
	sync bool
}

// Claim is the right to send values of one device's shared fields. It ends when it is
// settled or a newer reading overtakes it.
type Claim struct {
	ledger *Ledger
	write  ComplianceWrite
	id     string
	etag   string // of the record with the claim
	claims claims
}

// Values are the values to be sent: NinjaOne does not hold them, and no newer reading is
// known.
func (c *Claim) Values() ninjaone.Fields {
	values := ninjaone.Fields{}
	for name := range c.claims {
		values[name] = c.write.Values[name]
	}
	return values
}

// ClaimCompliance notes that values are about to be sent. It returns nil and no
// error when there is nothing to send: NinjaOne holds them, or they are to be
// cleared where nothing is shown, or the device is another tenant's. It returns
// ErrNewerState when a newer reading is known. A claim must be settled.
func (l *Ledger) ClaimCompliance(ctx context.Context, w ComplianceWrite) (*Claim, error) {
	c := &Claim{ledger: l, write: w, id: uuid.NewString()}
	newer := false
	err := whileOthersAreFirst(func() error {
		row, err := l.table.Find(ctx, w.Organization.Partition(), rowKey(Device(w.DeviceID)))
		if err != nil {
			return err
		}
		if w.Fields.claimedBy(c.id, row) { // by an attempt whose answer was lost
			c.etag = row.ETag()
			return nil
		}
		d := w.decide(row, c.id, time.Now())
		c.claims, newer = d.claims, d.newer
		if d.columns == nil {
			return nil
		}
		if len(d.moved) > 0 {
			d.columns["Fields"] = withFields(fieldsOf(row), d.moved)
		}
		err = l.putNote(ctx, w, row, d.columns)
		c.etag = d.columns.ETag()
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("claim the compliance fields of NinjaOne device %d: %w", w.DeviceID, err)
	case len(c.claims) > 0:
		return c.unlessSwept(ctx)
	case newer:
		return nil, ErrNewerState
	}
	return nil, nil
}

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

// unlessSwept gives back what a reading claims that is older than the list of the
// tenant's last sweep. It does so where NinjaOne is not noted to hold the value. It
// looks after the claim is noted, so that a later sweep sees the claim.
func (c *Claim) unlessSwept(ctx context.Context) (*Claim, error) {
	unheld := c.claims.unheld()
	if len(unheld) == 0 {
		return c, nil
	}
	swept, err := c.ledger.swept(ctx, c.write.TenantID)
	if err == nil && !swept.After(c.write.Read) {
		return c, nil
	}
	unsent := c.All(Refused) // nothing is sent
	if err == nil {
		maps.DeleteFunc(unsent, func(name string, _ Outcome) bool { return !slices.Contains(unheld, name) })
	}
	_, settled := c.Settle(ctx, unsent)
	if err = errors.Join(err, settled); err != nil {
		return nil, fmt.Errorf("claim the compliance fields of NinjaOne device %d: %w", c.write.DeviceID, err)
	}
	if len(c.claims) == 0 {
		return nil, ErrNewerState
	}
	return c, nil
}

// putNote writes columns of a record in the version that was read.
func (l *Ledger) putNote(ctx context.Context, w ComplianceWrite, row, columns storage.Entity) error {
	columns["PartitionKey"] = w.Organization.Partition()
	columns["RowKey"] = rowKey(Device(w.DeviceID))
	if row == nil {
		columns["TenantId"] = w.TenantID
		columns["Fields"] = noFields
		return l.table.Insert(ctx, columns)
	}
	return l.table.MergeIfMatch(ctx, columns, row.ETag())
}

// Outcome is how the sending of a claimed value ended.
type Outcome int

// The outcomes of a claim.
const (
	Lost     Outcome = iota // the request failed on the way, so that NinjaOne may hold either value
	Accepted                // NinjaOne holds the value
	Refused                 // NinjaOne holds what it held before
)

// All are the values of a claim with one outcome.
func (c *Claim) All(o Outcome) map[string]Outcome {
	all := map[string]Outcome{}
	for name := range c.claims {
		all[name] = o
	}
	return all
}

// Settle notes how the sending of values ended; what is not among them stays claimed. It
// reports whether a newer reading was claimed meanwhile. Both requests were then under
// way, and nobody knows which NinjaOne served last. So the field is noted as unknown,
// and is best sent again from a new reading. The note is written even when ctx has just
// ended.
func (c *Claim) Settle(ctx context.Context, outcomes map[string]Outcome) (overtaken bool, err error) {
	ctx, done := storage.Noting(ctx)
	defer done()
	// Undisturbed, the record is as the claim left it, and need not be read.
	row, etag := storage.Entity{}, c.etag
	for _, n := range notes {
		name := n.of(c.write.Fields)
		if claim, ok := c.claims[name]; ok {
			row[n.field()], row[n.claim()], row[n.since()] = name, c.id, claim.since
		}
	}
	err = whileOthersAreFirst(func() error {
		if etag == "" { // somebody wrote it since
			var err error
			if row, err = c.ledger.table.Find(ctx, c.write.Organization.Partition(), rowKey(Device(c.write.DeviceID))); row == nil {
				overtaken = false
				return err // without error it is forgotten, because the device is gone
			}
			etag = row.ETag()
		}
		next := storage.Entity{}
		var lost map[string]string
		if overtaken, lost = c.claims.settle(c.write.Fields, c.id, c.write.Values, row, next, outcomes); len(lost) > 0 {
			next["Fields"] = withFields(fieldsOf(row), lost)
		}
		if len(next) == 0 {
			return nil
		}
		next["PartitionKey"], next["RowKey"] = c.write.Organization.Partition(), rowKey(Device(c.write.DeviceID))
		err := c.ledger.table.MergeIfMatch(ctx, next, etag)
		c.etag, etag = next.ETag(), ""
		return err
	})
	if err != nil {
		return overtaken, fmt.Errorf("note what NinjaOne device %d accepted: %w", c.write.DeviceID, err)
	}
	for name := range outcomes {
		delete(c.claims, name)
	}
	return overtaken, nil
}

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
