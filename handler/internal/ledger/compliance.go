package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// claimLife is after how long a claim that was never settled no longer
	// stands for a request that may still be under way.
	claimLife = 5 * time.Minute
	// claimAttempts bounds how often a claim gives way to another writer.
	claimAttempts = 8
	// syncClaim begins the id of a sync's claim.
	syncClaim = "sync-"
)

// Two writers share the compliance field: a sync writes it with a device's other
// fields, package compliance alone, each from a reading of Intune. So that the
// newer reading wins whatever happens, a writer claims the note before it sends:
//
//	           claim (the row is as it was read)              Accepted → Known, Cleared
//	noted ───────────────────────────────────► claimed by A ─ Refused  → noted as before
//	  ▲                                            │          Lost     → Unknown
//	  │                                            │ a newer reading claims
//	  │                                            ▼
//	  └── the next sync or sweep sends again ─ claimed by B: both requests may be on
//	                                           their way, so both settle as Unknown
//
// An older reading never claims over a newer one, nor over the list that the
// tenant's last sweep compared. A claim that nobody settles ends after claimLife;
// a sync ends that of a stopped sync at once, since it holds the organization.

// ErrNewerState says that the field was not claimed, because a newer reading
// of the device's state is known than the one that was to be written.
var ErrNewerState = errors.New("a newer compliance state is known")

// ComplianceWrite is a value on its way to the compliance field of a device.
type ComplianceWrite struct {
	Organization Organization
	DeviceID     int    // NinjaOne's id
	TenantID     string // the tenant whose Intune manages the device
	Field        string // NinjaOne custom field name
	Value        ninjaone.Value
	Read         time.Time // when the reading of Intune that says so began
	Force        bool      // send the value even if NinjaOne holds it
	// Shown says that NinjaOne may show a value although none is noted, such as
	// CIPP's: it is cleared all the same.
	Shown bool
	// Sync says that the writer is a sync, which has the organization to
	// itself: the claim of another sync is of one that was stopped.
	Sync bool
}

// complianceNote is what a device's record says of its compliance field.
type complianceNote struct {
	digest string
	read   time.Time
	claim  string
	since  time.Time
}

// noteOf reads the note of a field; false when the row has none of it.
func noteOf(row storage.Entity, field string) (complianceNote, bool) {
	if field == "" || row.String(columnField) != field {
		return complianceNote{}, false
	}
	return complianceNote{row.String(columnDigest), row.Time(columnRead), row.String(columnClaim), row.Time(columnSince)}, true
}

// sending reports whether a writer may still be sending a value.
func (n complianceNote) sending(now time.Time) bool {
	return n.claim != "" && now.Sub(n.since) < claimLife
}

// settled is the digest of what NinjaOne holds, as far as it is known.
func (n complianceNote) settled() string {
	if n.claim != "" {
		return Unknown
	}
	return n.digest
}

// Claim is the right to send one value of one device's compliance field, until
// it is settled or a newer reading overtakes it.
type Claim struct {
	ledger *Ledger
	write  ComplianceWrite
	id     string
	etag   string // of the record with the claim
	claimed
}

// claimed is what a writer remembers of the note that it claimed.
type claimed struct {
	since    time.Time
	before   string // settled digest before the claim
	overtook bool   // another writer's request may still be under way
	unheld   bool   // another value was noted than the one to be sent
}

// decision is what the note of a row means for a write.
type decision struct {
	claims  bool           // the value is to be sent
	newer   bool           // a newer reading is known
	columns storage.Entity // to be noted; nil for none
	claimed
}

// decide judges whether a value is to be sent, by the row of its device; nil for
// a device without row.
func (w ComplianceWrite) decide(row storage.Entity, id string, now time.Time) (d decision) {
	if owner := row.String("TenantId"); owner != "" && owner != w.TenantID {
		return d
	}
	note, noted := noteOf(row, w.Field)
	switch {
	case !noted: // not yet, or by a run that was stopped before its claim
		note.digest = fieldsOf(row)[w.Field]
	case note.claim != "" && !note.sending(now), w.Sync && strings.HasPrefix(note.claim, syncClaim):
		note.digest, note.claim = Unknown, "" // its writer is gone
	}
	want := Digest(w.Value)
	columns := storage.Entity{columnField: w.Field, columnRead: w.Read.UTC()}
	switch {
	case note.read.After(w.Read):
		d.newer = true
	case w.Value.IsClear() && !w.Shown && (note.digest == "" || note.digest == Cleared && note.claim == ""):
	case note.digest == want && !w.Force && !w.Shown:
		// NinjaOne holds it, or is being sent it. That it still holds now keeps an
		// older reading from undoing it.
		if noted && w.Read.After(note.read) {
			d.columns = columns
		}
	default:
		d.claims, d.columns = true, columns
		d.claimed = claimed{now.UTC().Truncate(time.Millisecond), note.settled(), note.sending(now), noted && note.digest != want}
		columns[columnDigest], columns[columnClaim], columns[columnSince] = want, id, d.since
	}
	return d
}

// ClaimCompliance notes that the value is about to be sent. It returns nil and
// no error when there is nothing to send: NinjaOne holds the value, or it is
// to be cleared where nothing is shown, or the device is another tenant's. It
// returns ErrNewerState when a newer reading is known. A claim must be settled.
func (l *Ledger) ClaimCompliance(ctx context.Context, w ComplianceWrite) (*Claim, error) {
	fail := func(err error) (*Claim, error) {
		return nil, fmt.Errorf("claim the compliance field of NinjaOne device %d: %w", w.DeviceID, err)
	}
	c := &Claim{ledger: l, write: w, id: uuid.NewString()}
	for range claimAttempts {
		row, err := l.table.Get(ctx, w.Organization.Partition(), rowKey(Device(w.DeviceID)))
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fail(err)
		}
		if note, noted := noteOf(row, w.Field); noted && note.claim == c.id { // written by an attempt whose answer was lost
			c.etag = row.ETag()
			return c.unlessSwept(ctx)
		}
		d := w.decide(row, c.id, time.Now())
		switch {
		case d.newer:
			return nil, ErrNewerState
		case d.columns == nil:
			return nil, nil
		}
		c.claimed = d.claimed
		err = l.putNote(ctx, w, row, d.columns)
		switch {
		case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrNotFound):
			continue // another writer was first
		case err != nil:
			return fail(err)
		case !d.claims:
			return nil, nil
		}
		c.etag = d.columns.ETag()
		return c.unlessSwept(ctx)
	}
	return fail(errFirst)
}

// errFirst says that other writers of the same rows were always first.
var errFirst = errors.New("other writers of the same device were always first; it is tried again later")

// unlessSwept gives a claim back whose reading is older than the list that the
// tenant's last sweep compared, where NinjaOne is not noted to hold the value
// already. It looks after the claim is noted: a sweep that begins later sees it.
func (c *Claim) unlessSwept(ctx context.Context) (*Claim, error) {
	if !c.unheld {
		return c, nil
	}
	swept, err := c.ledger.swept(ctx, c.write.TenantID)
	if err == nil && !swept.After(c.write.Read) {
		return c, nil
	}
	_, settled := c.Settle(ctx, Refused) // nothing was sent
	if err = errors.Join(err, settled); err != nil {
		return nil, fmt.Errorf("claim the compliance field of NinjaOne device %d: %w", c.write.DeviceID, err)
	}
	return nil, ErrNewerState
}

// putNote writes columns of a record in the version that was read.
func (l *Ledger) putNote(ctx context.Context, w ComplianceWrite, row, columns storage.Entity) error {
	columns["PartitionKey"] = w.Organization.Partition()
	columns["RowKey"] = rowKey(Device(w.DeviceID))
	if row == nil {
		columns["TenantId"] = w.TenantID
		columns["Fields"] = noFields
		columns["Version"] = int32(layout.Version)
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

// Settle notes how the sending ended. It reports whether a newer reading was
// claimed meanwhile: both requests were under way at once, and which of them
// NinjaOne served last is not known, so the field is noted as unknown and is
// best sent again from a new reading. The note is written also when ctx has just
// ended.
func (c *Claim) Settle(ctx context.Context, outcome Outcome) (overtaken bool, err error) {
	ctx, done := storage.Noting(ctx)
	defer done()
	fail := func(err error) (bool, error) {
		return overtaken, fmt.Errorf("note what NinjaOne device %d accepted: %w", c.write.DeviceID, err)
	}
	// Undisturbed, the record is as the claim left it, and need not be read.
	row, etag := storage.Entity{columnField: c.write.Field, columnClaim: c.id, columnSince: c.since}, c.etag
	for range claimAttempts {
		var next storage.Entity
		if next, overtaken = c.settle(c.id, c.write, row, outcome); len(next) == 0 {
			return overtaken, nil
		}
		next["PartitionKey"], next["RowKey"] = c.write.Organization.Partition(), rowKey(Device(c.write.DeviceID))
		err = c.ledger.table.MergeIfMatch(ctx, next, etag)
		if err == nil {
			return overtaken, nil
		}
		if errors.Is(err, storage.ErrConflict) {
			row, err = c.ledger.table.Get(ctx, next.PartitionKey(), next.RowKey())
			etag = row.ETag()
		}
		if errors.Is(err, storage.ErrNotFound) {
			return false, nil // forgotten, because the device is gone
		}
		if err != nil {
			return fail(err)
		}
	}
	return fail(errFirst)
}

// settle returns the columns that note how the sending under a claim ended, given
// the row as it is now.
func (c claimed) settle(id string, w ComplianceWrite, row storage.Entity, outcome Outcome) (next storage.Entity, overtaken bool) {
	note, noted := noteOf(row, w.Field)
	next = storage.Entity{}
	switch {
	case noted && note.claim == "" && note.since.Equal(c.since): // this claim, settled: the answer to that was lost
	case !noted && outcome != Refused:
		// Another field is mapped by now. The next sync clears this one again.
		fields := fieldsOf(row)
		fields[w.Field] = Unknown
		if text, err := json.Marshal(fields); err == nil {
			next["Fields"] = string(text)
		}
	case !noted:
	case note.claim == id:
		next[columnClaim] = ""
		switch {
		case c.overtook || outcome == Lost:
			next[columnDigest] = Unknown
		case outcome == Refused:
			next[columnDigest] = c.before
		default:
			next[columnDigest] = Digest(w.Value)
			Keep(next, w.Field, w.Value)
		}
	case outcome == Refused:
	case note.claim != "": // the newer writer is still sending, and settles as unknown
		return next, true
	default:
		next[columnDigest] = Unknown
		return next, true
	}
	return next, false
}

// MarkSwept notes when the list of a tenant's devices was read that a sweep is
// about to compare: whatever an older reading says differently is out of date.
// It is called before Compliance reads the notes that are compared.
func (l *Ledger) MarkSwept(ctx context.Context, tenantID string, read time.Time) error {
	row := storage.Entity{"PartitionKey": sweptPartition, "RowKey": tenantID, "Version": int32(layout.Version), columnRead: read.UTC()}
	if err := l.table.Replace(ctx, row); err != nil {
		return fmt.Errorf("note when the tenant was swept: %w", err)
	}
	return nil
}

func (l *Ledger) swept(ctx context.Context, tenantID string) (time.Time, error) {
	row, err := l.table.Get(ctx, sweptPartition, tenantID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return time.Time{}, err
	}
	return row.Time(columnRead), nil
}

// DeviceCompliance is what is noted of one device's compliance field.
type DeviceCompliance struct {
	TenantID string // the tenant whose device it is
	digest   string
}

// Holds reports whether NinjaOne last accepted exactly this value.
func (d DeviceCompliance) Holds(v ninjaone.Value) bool {
	return d.digest == Digest(v) || v.IsClear() && d.digest == ""
}

// Ours reports whether the field may hold a value of ours.
func (d DeviceCompliance) Ours() bool { return Holds(d.digest) }

// Changed reports whether the value differs from one that NinjaOne is known to
// hold: Intune's state changed since it was written.
func (d DeviceCompliance) Changed(v ninjaone.Value) bool {
	return d.digest != "" && d.digest != Unknown && !d.Holds(v)
}

// Compliance returns what is noted of the compliance field of each device of
// an organization that has a record, by NinjaOne's device id.
func (l *Ledger) Compliance(ctx context.Context, o Organization, field string) (map[int]DeviceCompliance, error) {
	records, err := l.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	notes := make(map[int]DeviceCompliance, len(records))
	for t, r := range records {
		if t.Kind != KindDevice {
			continue
		}
		d := DeviceCompliance{r.TenantID, r.Fields[field]}
		if r.Noted == field {
			d.digest = r.settled
		}
		notes[t.ID] = d
	}
	return notes, nil
}

// ComplianceOf returns what is noted of one device; noted is false when it has
// no record as a device of the organization.
func (l *Ledger) ComplianceOf(ctx context.Context, o Organization, deviceID int, field string) (d DeviceCompliance, noted bool, err error) {
	row, err := l.table.Get(ctx, o.Partition(), rowKey(Device(deviceID)))
	if errors.Is(err, storage.ErrNotFound) {
		return DeviceCompliance{}, false, nil
	}
	if err != nil {
		return DeviceCompliance{}, false, fmt.Errorf("read what NinjaOne device %d last accepted: %w", deviceID, err)
	}
	d = DeviceCompliance{row.String("TenantId"), fieldsOf(row)[field]}
	if note, ok := noteOf(row, field); ok {
		d.digest = note.settled()
	}
	return d, true, nil
}

// ForgetDevice removes the record of a device that NinjaOne does not know any
// more.
func (l *Ledger) ForgetDevice(ctx context.Context, o Organization, deviceID int) error {
	return l.Forget(ctx, o, Device(deviceID))
}
