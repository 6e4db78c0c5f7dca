package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// MaxBatch is how many targets one batch may have, which is what one transaction
// of the table takes.
const MaxBatch = 100

// Reading is the reading of Intune that values of shared fields come from.
type Reading struct {
	TenantID string    // whose devices were read
	Fields   Shared    // the fields whose values come from it
	Began    time.Time // when the reading began
}

// Send is one target with the values that are about to be sent to it. The sender
// says with its methods how that ended; what it says nothing of is Unknown.
type Send struct {
	Record *Record
	Values ninjaone.Fields // by NinjaOne custom field name
	// Overtaken says of a settled send that a newer reading was claimed meanwhile. Both
	// requests were then under way, and nobody knows which NinjaOne served last. So the
	// field is noted as unknown, and is best sent again from a new reading.
	Overtaken bool

	last   bool               // the record is of no use once NinjaOne accepted all of them
	before map[string]string  // what the record noted before the values were marked
	force  bool               // shared values, but not clear, go also where NinjaOne is noted to hold them
	shown  map[string]bool    // shared fields that may show another value than is noted; these go in any case
	claims map[string]claimed // of the shared fields that are sent
	marked string             // column Fields as it was marked
	taken  ninjaone.Fields
	ended  map[string]outcome // of the claims
	gone   bool
}

// NewSend returns a send of values, which are not none, to a target.
func NewSend(r *Record, values ninjaone.Fields) *Send {
	s := &Send{Record: r, Values: values, last: true, taken: ninjaone.Fields{}, ended: map[string]outcome{}}
	for name, noted := range r.Fields {
		if _, sent := values[name]; !sent && Holds(noted) {
			s.last = false
		}
	}
	for _, v := range values {
		s.last = s.last && v.IsClear()
	}
	return s
}

// NewSharedSend returns a send of values of shared fields alone to a device. With force
// the values, but not clear, go even if NinjaOne holds them. The fields in shown may show
// another value than is noted, such as CIPP's. They are sent, and cleared, all the same.
func NewSharedSend(deviceID int, values ninjaone.Fields, force bool, shown map[string]bool) *Send {
	s := NewSend(&Record{Target: Device(deviceID), Fields: map[string]string{}}, values)
	s.force, s.shown = force, shown
	return s
}

// Remember keeps the record of a target that should hold nothing any more. So it stays
// known that the target was cleared.
func (s *Send) Remember() { s.last = false }

// Accept notes that NinjaOne accepted a value.
func (s *Send) Accept(name string, at time.Time) {
	s.taken[name] = s.Values[name]
	s.Record.Fields[name], s.Record.Written = Digest(s.Values[name]), at
	s.ended[name] = accepted
}

// Partly notes how the values ended of which NinjaOne refused some, so that each went
// alone.
func (s *Send) Partly(r *ninjaone.RefusedError, at time.Time) {
	for name := range s.Values {
		held, left := r.Left[name]
		switch {
		case r.Refused[name] != nil:
			s.Refuse(name)
		case left && held:
			s.Unsent(name)
		case !left:
			s.Accept(name, at)
		}
	}
}

// Unsent notes that NinjaOne holds in fields what it held before.
func (s *Send) Unsent(names ...string) {
	for _, name := range names {
		if noted, had := s.before[name]; had {
			s.Record.Fields[name] = noted
		} else {
			delete(s.Record.Fields, name)
		}
		s.Refuse(name)
	}
}

// Hold takes values out that are not sent. NinjaOne holds what it held before.
func (s *Send) Hold(names ...string) {
	s.take(names...)
	s.Unsent(names...)
}

// HoldAll takes all values out.
func (s *Send) HoldAll() { s.Hold(slices.Collect(maps.Keys(s.Values))...) }

// take takes values out, so that the record stays of use.
func (s *Send) take(names ...string) {
	s.Values, s.last = maps.Clone(s.Values), false
	for _, name := range names {
		delete(s.Values, name)
	}
}

// Refuse notes that NinjaOne refused a value. It is sent again by the next run.
func (s *Send) Refuse(name string) { s.ended[name] = refused }

// Gone notes that NinjaOne does not know the target any more.
func (s *Send) Gone() { s.gone = true }

// Taken are the values that NinjaOne accepted.
func (s *Send) Taken() ninjaone.Fields { return s.taken }

// without takes a shared value out: a newer reading is known, or NinjaOne holds it.
// Its columns say what NinjaOne holds.
func (s *Send) without(field string) {
	s.take(field)
	delete(s.Record.Fields, field)
}

// Batch is a part of a run's targets, or one device of package compliance. One transaction
// marks their values as Unknown or claimed before anything is sent, and one settles them
// afterwards. Whoever is killed in between leaves marks, never a false digest.
type Batch struct {
	ledger *Ledger
	org    Organization
	read   Reading
	id     string // of the claims
	sends  []*Send
}

// Mark notes that values are about to be sent, and claims the shared fields of devices.
// It takes out what needs no sending, or has a newer reading. It saves other records
// with them.
func (l *Ledger) Mark(ctx context.Context, o Organization, read Reading, sends []*Send, others ...*Record) (*Batch, error) {
	b := &Batch{l, o, read, syncClaim + uuid.NewString(), sends}
	for _, s := range sends {
		s.before, s.shown = maps.Clone(s.Record.Fields), map[string]bool{}
		for _, name := range read.Fields.Names() {
			s.shown[name] = s.Record.Fields[name] == Unknown
		}
		for name := range s.Values {
			s.Record.Fields[name] = Unknown
		}
	}
	if err := b.claim(ctx, others); err != nil {
		return nil, fmt.Errorf("note what is being sent to NinjaOne organization %d: %w", o.ID, err)
	}
	return b, b.unlessSwept(ctx)
}

// MarkShared is Mark of a [NewSharedSend], for package compliance. The device's record
// stays as it is, but for the notes of the shared fields. It returns nil when there is
// nothing to send: NinjaOne holds the values, or they are to be cleared where nothing is
// shown. Or a newer reading is known, or the device is another tenant's.
func (l *Ledger) MarkShared(ctx context.Context, o Organization, read Reading, s *Send) (*Batch, error) {
	b := &Batch{l, o, read, uuid.NewString(), []*Send{s}}
	err := b.claim(ctx, nil)
	if err == nil && len(s.claims) == 0 {
		return nil, nil
	}
	if err == nil {
		if err = b.unlessSwept(ctx); err != nil {
			s.HoldAll()
		}
		if len(s.Values) > 0 {
			return b, nil
		}
		err = errors.Join(err, b.Settle(ctx))
	}
	return nil, storage.Doing(err, "claim the compliance fields of NinjaOne device %d", s.Record.Target.ID)
}

// alone reports whether the batch writes shared fields alone. Else it is a sync's, which
// has the organization to itself. So a claim of another sync is one of a stopped sync.
func (b *Batch) alone() bool { return !strings.HasPrefix(b.id, syncClaim) }

// claim marks the sends, and saves other records. It takes out the shared values that
// it did not claim.
func (b *Batch) claim(ctx context.Context, others []*Record) error {
	claims := slices.ContainsFunc(b.sends, b.claimable)
	err := whileOthersAreFirst(func() error {
		rows := map[string]storage.Entity{}
		var err error
		if claims {
			if rows, err = b.rows(ctx); err != nil {
				return err
			}
		}
		var ops []storage.Operation
		for _, s := range b.sends {
			op, err := b.mark(s, rows[rowKey(s.Record.Target)])
			if err != nil {
				return err
			}
			ops = append(ops, op...)
		}
		for _, r := range others {
			e, err := b.ledger.entity(b.org, r)
			if err != nil {
				return err
			}
			ops = append(ops, storage.MergeOp(e))
		}
		return b.ledger.table.WriteBatch(ctx, ops)
	})
	if err != nil {
		return err
	}
	for _, s := range b.sends {
		for _, name := range b.shared(s) {
			if !b.claimed(s, name) {
				s.without(name)
			}
		}
	}
	return nil
}

// shared are the shared fields of which a send has values.
func (b *Batch) shared(s *Send) (names []string) {
	if s.Record.Target.Kind != KindDevice {
		return nil
	}
	return slices.DeleteFunc(b.read.Fields.Names(), func(name string) bool {
		_, has := s.Values[name]
		return !has
	})
}

func (b *Batch) claimable(s *Send) bool { return len(b.shared(s)) > 0 }

// mark returns what marks one target, given its row.
func (b *Batch) mark(s *Send, row storage.Entity) ([]storage.Operation, error) {
	var d decision
	if b.claimable(s) {
		if b.read.Fields.claimedBy(b.id, row) {
			return nil, nil // written by an attempt whose answer was lost
		}
		if row != nil && row.String("TenantId") == s.Record.owner {
			row["TenantId"] = b.read.TenantID // what another tenant wrote here is this one's from now on
		}
		d = b.decide(s, row, time.Now())
		s.claims = d.claims
		for name, digest := range d.moved {
			if _, has := s.Record.Fields[name]; !has {
				s.Record.Fields[name] = digest
			}
		}
	}
	e, err := b.entity(s)
	if err != nil {
		return nil, err
	}
	if b.alone() {
		switch {
		case d.columns == nil:
			return nil, nil
		case row == nil:
			e["TenantId"], e["Fields"] = b.read.TenantID, noFields
		case len(d.moved) > 0:
			e["Fields"] = withFields(fieldsOf(row), d.moved)
		}
	}
	s.marked = e.String("Fields")
	maps.Copy(e, d.columns)
	switch {
	case d.columns == nil:
		return []storage.Operation{storage.MergeOp(e)}, nil
	case row == nil:
		return []storage.Operation{storage.InsertOp(e)}, nil
	}
	return []storage.Operation{storage.MergeOp(e).IfMatch(row.ETag())}, nil
}

func (b *Batch) claimed(s *Send, name string) bool {
	_, is := s.claims[name]
	return is
}

// entity is the row of a send. Shared fields are noted in columns of their own alone.
func (b *Batch) entity(s *Send) (storage.Entity, error) {
	if b.alone() {
		return storage.Entity{"PartitionKey": b.org.Partition(), "RowKey": rowKey(s.Record.Target)}, nil
	}
	r := *s.Record
	r.Fields = maps.Clone(r.Fields)
	for name := range s.claims {
		delete(r.Fields, name)
	}
	for _, name := range b.shared(s) {
		delete(r.Fields, name)
	}
	return b.ledger.entity(b.org, &r)
}

// rows reads the rows of the sends. Their keys are near each other in the
// partition, since a run writes its devices in order of their keys.
func (b *Batch) rows(ctx context.Context) (map[string]storage.Entity, error) {
	rows := map[string]storage.Entity{}
	var keys []string
	for _, s := range b.sends {
		keys = append(keys, rowKey(s.Record.Target))
	}
	slices.Sort(keys)
	if len(keys) == 0 {
		return rows, nil
	}
	among := storage.And(storage.Ge("RowKey", keys[0]), storage.Lt("RowKey", keys[len(keys)-1]+"!"))
	for row, err := range b.ledger.table.List(ctx, storage.And(storage.Eq("PartitionKey", b.org.Partition()), among), recordColumns...) {
		if err != nil {
			return nil, err
		}
		if _, found := slices.BinarySearch(keys, row.RowKey()); !found {
			continue
		}
		if row.ETag() == "" { // a list need not say versions
			if row, err = b.ledger.table.Get(ctx, row.PartitionKey(), row.RowKey()); err != nil {
				return nil, err
			}
		}
		rows[row.RowKey()] = row
	}
	return rows, nil
}

// unlessSwept gives the claims back whose reading is older than the list that the
// tenant's last sweep compared. It looks after the claims are noted: a sweep that
// begins later sees them.
func (b *Batch) unlessSwept(ctx context.Context) error {
	unheld := func(s *Send) (names []string) {
		for name, claim := range s.claims {
			if claim.unheld {
				names = append(names, name)
			}
		}
		return names
	}
	if !slices.ContainsFunc(b.sends, func(s *Send) bool { return len(unheld(s)) > 0 }) {
		return nil
	}
	swept, err := b.ledger.swept(ctx, b.read.TenantID)
	if err != nil {
		return fmt.Errorf("see when tenant %s was swept: %w", b.read.TenantID, err)
	}
	if !swept.After(b.read.Began) {
		return nil
	}
	for _, s := range b.sends {
		for _, name := range unheld(s) {
			s.without(name)
			s.Refuse(name) // nothing is sent
		}
	}
	return nil
}

// Settle notes how the sends of a batch ended, also when ctx has just ended.
func (b *Batch) Settle(ctx context.Context) error {
	if len(b.sends) == 0 {
		return nil
	}
	ctx, done := storage.Noting(ctx)
	defer done()
	err := whileOthersAreFirst(func() error {
		rows, err := b.rows(ctx)
		if err != nil {
			return err
		}
		var ops []storage.Operation
		for _, s := range b.sends {
			row := rows[rowKey(s.Record.Target)]
			if row == nil {
				continue // forgotten, because the device is gone
			}
			op, err := b.settle(s, row)
			if err != nil {
				return err
			}
			ops = append(ops, op...)
		}
		return b.ledger.table.WriteBatch(ctx, ops)
	})
	return storage.Doing(err, "note what NinjaOne organization %d accepted", b.org.ID)
}

// settle returns what notes how one send ended, given its row as it is now.
func (b *Batch) settle(s *Send, row storage.Entity) ([]storage.Operation, error) {
	one := func(op storage.Operation) ([]storage.Operation, error) {
		return []storage.Operation{op.IfMatch(row.ETag())}, nil
	}
	gone := storage.DeleteOp(row.PartitionKey(), row.RowKey())
	if s.gone {
		return one(gone)
	}
	columns, lost := storage.Entity{}, map[string]string{}
	s.Overtaken = false
	for _, n := range notes {
		name := n.of(b.read.Fields)
		if !b.claimed(s, name) {
			continue
		}
		over, gone := s.claims[name].settle(n, name, b.id, s.Values[name], row, columns, s.ended[name])
		s.Overtaken = s.Overtaken || over
		if gone { // another field is mapped by now; the next sync clears this one again
			lost[name] = Unknown
		}
	}
	e, err := b.entity(s)
	if err != nil {
		return nil, err
	}
	switch now := row.String("Fields"); {
	case b.alone() && len(columns)+len(lost) == 0:
		return nil, nil
	case b.alone():
		e["Fields"] = now
	case now == s.marked && s.last && len(s.taken) == len(s.Values) && !s.Overtaken:
		return one(gone)
	case now == s.marked:
		for name, v := range s.taken {
			if !b.claimed(s, name) {
				Keep(e, name, v)
			}
		}
	case now == e.String("Fields") && len(columns)+len(lost) == 0:
		return nil, nil // settled, and the answer to that was lost
	default:
		// This run has lost the organization to another one, which has written the record.
		// Nobody knows in which order NinjaOne served the two.
		fields := fieldsOf(row)
		for name := range s.taken {
			fields[name] = Unknown
		}
		text, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		e = storage.Entity{"PartitionKey": row.PartitionKey(), "RowKey": row.RowKey(), "Fields": string(text)}
	}
	if len(lost) > 0 {
		e["Fields"] = withFields(fieldsOf(e), lost)
	}
	maps.Copy(e, columns)
	return one(storage.MergeOp(e))
}
