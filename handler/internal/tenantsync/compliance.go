package tenantsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// The compliance field is written by the sync and by package compliance at the
// same time, so what is noted of it has columns of its own in the device's
// record, which change only by ClaimCompliance and Claim.Settle.
const (
	columnField  = "ComplianceField"  // NinjaOne custom field name
	columnDigest = "ComplianceDigest" // digest or mark
	columnRead   = "ComplianceRead"   // when the state was read in Intune
	columnClaim  = "ComplianceClaim"  // who is sending at present; "" for nobody
	columnSince  = "ComplianceSince"  // since when
)

const (
	noFields = "{}" // column Fields of a record without any
	// sweptPartition holds, per tenant, when the list that its last sweep
	// compared was read.
	sweptPartition = "swept"
	// claimLife is after how long a claim that was never settled no longer
	// stands for a request that may still be under way.
	claimLife = 5 * time.Minute
	// claimAttempts bounds how often a claim gives way to another writer.
	claimAttempts = 8
	// syncClaim begins the id of a sync's claim.
	syncClaim = "sync-"
)

// ErrNewerState says that the field was not claimed, because a newer reading
// of the device's state is known than the one that was to be written.
var ErrNewerState = errors.New("a newer compliance state is known")

// ComplianceWrite is a value on its way to the compliance field of a device.
type ComplianceWrite struct {
	Instance       string // normalised NinjaOne host
	OrganizationID int
	DeviceID       int    // NinjaOne's id
	TenantID       string // the tenant whose Intune manages the device
	Field          string // NinjaOne custom field name
	Value          ninjaone.Value
	Read           time.Time // when the reading of Intune that says so began
	Force          bool      // send the value even if NinjaOne holds it
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
		return markSending
	}
	return n.digest
}

// Claim is the right to send one value of one device's compliance field, until
// it is settled or a newer reading overtakes it.
type Claim struct {
	state    *State
	write    ComplianceWrite
	id       string
	before   string // settled digest before the claim
	overtook bool   // another writer's request may still be under way
	etag     string // of the record with the claim
	fields   string // what the record says of the other fields
}

// ClaimCompliance notes that the value is about to be sent. It returns nil and
// no error when there is nothing to send: NinjaOne holds the value, or it is
// to be cleared where we never wrote, or the device is another tenant's. It
// returns ErrNewerState when a newer reading is known. A claim must be settled.
func (s *State) ClaimCompliance(ctx context.Context, w ComplianceWrite) (*Claim, error) {
	fail := func(err error) (*Claim, error) {
		return nil, fmt.Errorf("claim the compliance field of NinjaOne device %d: %w", w.DeviceID, err)
	}
	c := &Claim{state: s, write: w, id: uuid.NewString()}
	if w.Sync {
		c.id = syncClaim + c.id
	}
	unheld := false // another value is noted than the one to be sent
	for range claimAttempts {
		row, err := s.table.Get(ctx, partition(w.Instance, w.OrganizationID), rowKey(target{kindDevice, w.DeviceID}))
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fail(err)
		}
		note, noted := noteOf(row, w.Field)
		if noted && note.claim == c.id { // written by an attempt whose answer was lost
			c.etag = row.ETag()
			return c.unlessSwept(ctx, unheld)
		}
		if owner := row.String("TenantId"); owner != "" && owner != w.TenantID {
			return nil, nil
		}
		now := time.Now()
		switch {
		case !noted: // not yet, or by a run that was stopped before its claim
			note.digest = fieldsOf(row)[w.Field]
		case note.claim != "" && !note.sending(now), w.Sync && strings.HasPrefix(note.claim, syncClaim):
			note.digest, note.claim = markSending, "" // its writer is gone
		}
		want := digest(w.Value)
		next := storage.Entity{columnField: w.Field, columnRead: w.Read.UTC()}
		switch {
		case note.read.After(w.Read):
			return nil, ErrNewerState
		case w.Value.IsClear() && (note.digest == "" || note.digest == markCleared && note.claim == ""):
			return nil, nil
		case note.digest == want && !w.Force:
			if !noted || !w.Read.After(note.read) {
				return nil, nil
			}
			// NinjaOne holds it, or is being sent it. That it still holds now
			// keeps an older reading from undoing it.
		default:
			unheld = noted && note.digest != want
			c.before, c.overtook, c.fields = note.settled(), note.sending(now), row.String("Fields")
			if row == nil {
				c.fields = noFields
			}
			next[columnDigest], next[columnClaim], next[columnSince] = want, c.id, now.UTC()
		}
		err = s.putNote(ctx, w, row, next)
		switch {
		case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrNotFound):
			continue // another writer was first
		case err != nil:
			return fail(err)
		case next[columnClaim] == nil:
			return nil, nil
		}
		c.etag = next.ETag()
		return c.unlessSwept(ctx, unheld)
	}
	return fail(errors.New("other writers of the same device were always first; it is tried again later"))
}

// unlessSwept gives a claim back whose reading is older than the list that the
// tenant's last sweep compared, where NinjaOne is not noted to hold the value
// already. It looks after the claim is noted: a sweep that begins later sees it.
func (c *Claim) unlessSwept(ctx context.Context, unheld bool) (*Claim, error) {
	if !unheld {
		return c, nil
	}
	swept, err := c.state.swept(ctx, c.write.TenantID)
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
func (s *State) putNote(ctx context.Context, w ComplianceWrite, row, columns storage.Entity) error {
	columns["PartitionKey"] = partition(w.Instance, w.OrganizationID)
	columns["RowKey"] = rowKey(target{kindDevice, w.DeviceID})
	if row == nil {
		columns["TenantId"] = w.TenantID
		columns["Fields"] = noFields
		columns["Version"] = int32(layout.Version)
		return s.table.Insert(ctx, columns)
	}
	return s.table.MergeIfMatch(ctx, columns, row.ETag())
}

// Outcome is how the sending of a claimed value ended.
type Outcome int

// The outcomes of a claim.
const (
	Unknown  Outcome = iota // the request failed on the way, so that NinjaOne may hold either value
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
	return c.settle(ctx, outcome, nil)
}

// settle is Settle that in the same call notes what NinjaOne accepted of the
// record's other fields; nil for none.
func (c *Claim) settle(ctx context.Context, outcome Outcome, r *record) (overtaken bool, err error) {
	fail := func(err error) (bool, error) {
		return overtaken, fmt.Errorf("note what NinjaOne device %d accepted: %w", c.write.DeviceID, err)
	}
	// Undisturbed, the record is as the claim left it, and need not be read.
	row := storage.Entity{columnField: c.write.Field, columnClaim: c.id, "Fields": c.fields}
	etag := c.etag
	for range claimAttempts {
		next, err := c.columns(r, row)
		if err != nil {
			return fail(err)
		}
		if overtaken = c.note(next, row, outcome); len(next) == 0 {
			return overtaken, nil
		}
		next["PartitionKey"] = partition(c.write.Instance, c.write.OrganizationID)
		next["RowKey"] = rowKey(target{kindDevice, c.write.DeviceID})
		err = c.state.table.MergeIfMatch(ctx, next, etag)
		if err == nil {
			return overtaken, nil
		}
		if errors.Is(err, storage.ErrConflict) {
			row, err = c.state.table.Get(ctx, next.PartitionKey(), next.RowKey())
			etag = row.ETag()
		}
		if errors.Is(err, storage.ErrNotFound) {
			return false, nil // forgotten, because the device is gone
		}
		if err != nil {
			return fail(err)
		}
	}
	return fail(errors.New("other writers were always first"))
}

// columns are those that note what NinjaOne accepted of the record's fields.
func (c *Claim) columns(r *record, row storage.Entity) (storage.Entity, error) {
	if r == nil {
		return storage.Entity{}, nil
	}
	if row.String("Fields") == c.fields {
		return c.state.entity(c.write.Instance, c.write.OrganizationID, r)
	}
	// This run has lost the organization to another one, which has written the
	// record: in which order NinjaOne served the two is not known.
	fields := fieldsOf(row)
	for name := range r.taken {
		fields[name] = markSending
	}
	text, err := json.Marshal(fields)
	return storage.Entity{"Fields": string(text)}, err
}

// note adds to next what becomes of the note in a row.
func (c *Claim) note(next, row storage.Entity, outcome Outcome) (overtaken bool) {
	note, noted := noteOf(row, c.write.Field)
	switch {
	case !noted && outcome != Refused:
		// Another field is mapped by now. The next sync clears this one again.
		fields := fieldsOf(row)
		fields[c.write.Field] = markSending
		if text, err := json.Marshal(fields); err == nil {
			next["Fields"] = string(text)
		}
	case !noted:
	case note.claim == c.id:
		next[columnClaim] = ""
		switch {
		case c.overtook || outcome == Unknown:
			next[columnDigest] = markSending
		case outcome == Refused:
			next[columnDigest] = c.before
		default:
			next[columnDigest] = digest(c.write.Value)
			accepted.Keep(next, c.write.Field, c.write.Value)
		}
	case outcome == Refused:
	case note.claim != "": // the newer writer is still sending, and settles as unknown
		return true
	default:
		next[columnDigest] = markSending
		return true
	}
	return false
}

// MarkSwept notes when the list of a tenant's devices was read that a sweep is
// about to compare: whatever an older reading says differently is out of date.
// It is called before Compliance reads the notes that are compared.
func (s *State) MarkSwept(ctx context.Context, tenantID string, read time.Time) error {
	row := storage.Entity{"PartitionKey": sweptPartition, "RowKey": tenantID, "Version": int32(layout.Version), columnRead: read.UTC()}
	if err := s.table.Replace(ctx, row); err != nil {
		return fmt.Errorf("note when the tenant was swept: %w", err)
	}
	return nil
}

func (s *State) swept(ctx context.Context, tenantID string) (time.Time, error) {
	row, err := s.table.Get(ctx, sweptPartition, tenantID)
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
	return d.digest == digest(v) || v.IsClear() && d.digest == ""
}

// Ours reports whether the field may hold a value of ours.
func (d DeviceCompliance) Ours() bool { return accepted.Holds(d.digest) }

// Changed reports whether the value differs from one that NinjaOne is known to
// hold: Intune's state changed since it was written.
func (d DeviceCompliance) Changed(v ninjaone.Value) bool {
	return d.digest != "" && d.digest != markSending && !d.Holds(v)
}

// Compliance returns what is noted of the compliance field of each device of
// an organization that has a record, by NinjaOne's device id.
func (s *State) Compliance(ctx context.Context, instance string, organizationID int, field string) (map[int]DeviceCompliance, error) {
	records, err := s.load(ctx, instance, organizationID)
	if err != nil {
		return nil, err
	}
	notes := make(map[int]DeviceCompliance, len(records))
	for t, r := range records {
		if t.kind != kindDevice {
			continue
		}
		d := DeviceCompliance{r.tenantID, r.fields[field]}
		if r.noted == field {
			d.digest = r.settled
		}
		notes[t.id] = d
	}
	return notes, nil
}

// ComplianceOf returns what is noted of one device; noted is false when it has
// no record as a device of the organization.
func (s *State) ComplianceOf(ctx context.Context, instance string, organizationID, deviceID int, field string) (d DeviceCompliance, noted bool, err error) {
	row, err := s.table.Get(ctx, partition(instance, organizationID), rowKey(target{kindDevice, deviceID}))
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
func (s *State) ForgetDevice(ctx context.Context, instance string, organizationID, deviceID int) error {
	return s.forget(ctx, instance, organizationID, target{kindDevice, deviceID})
}

// Matches is the outcome of a tenant's matching, by Intune's device ids.
type Matches struct {
	Pairs      map[string]int  // managed device id to NinjaOne device id, which several have that contest it
	Superseded map[string]bool // older records of machines among the pairs
	IntuneOnly map[string]bool // without NinjaOne device
	Digest     string          // changes with the matches; "" when there are none yet
}

// LoadMatches returns the matches of the tenant's last sync; empty when it has
// had none.
func LoadMatches(ctx context.Context, blobs *storage.Container, tenantID string) (Matches, error) {
	out := Matches{Pairs: map[string]int{}, Superseded: map[string]bool{}, IntuneOnly: map[string]bool{}}
	kept, digest, err := loadMatches(ctx, blobs, tenantID)
	if err != nil {
		return out, err
	}
	out.Digest = digest
	for _, p := range kept.Pairs {
		out.Pairs[p.ManagedDeviceID] = p.NinjaOneID
		for _, c := range p.Contesting {
			out.Pairs[c.ManagedDeviceID] = p.NinjaOneID
		}
		for _, id := range p.Superseded {
			out.Superseded[id] = true
		}
	}
	for _, l := range kept.IntuneOnly {
		out.IntuneOnly[l.ID] = true
	}
	// Of a record without its id nothing can be remembered.
	delete(out.Pairs, "")
	delete(out.IntuneOnly, "")
	return out, nil
}

// claim claims the compliance field of a device that is about to be written,
// and takes it out of what is sent, and its mark away, when a newer state is
// known. It returns nil when the field is not sent.
func (j *job) claim(ctx context.Context, p *sending) (*Claim, error) {
	value, sent := p.values[j.compliance]
	if p.record.target.kind != kindDevice || !sent {
		return nil, nil
	}
	c, err := j.State.ClaimCompliance(ctx, ComplianceWrite{
		Instance: j.instance, OrganizationID: j.mapping.OrganizationID, DeviceID: p.record.target.id,
		TenantID: j.ref.ID, Field: j.compliance, Value: value, Read: j.readAt, Force: p.force, Sync: true,
	})
	if err != nil && !errors.Is(err, ErrNewerState) {
		return nil, err
	}
	if c == nil {
		p.values = maps.Clone(p.values)
		delete(p.values, j.compliance)
		delete(p.record.fields, j.compliance) // its columns say what NinjaOne holds
		p.last = false
	}
	return c, nil
}
