package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// Kind is what a NinjaOne target is.
type Kind string

// The kinds of targets that have fields.
const (
	KindOrganization Kind = "organization"
	KindDevice       Kind = "device"
)

// Target is an organization or a device in NinjaOne.
type Target struct {
	Kind Kind
	ID   int
}

// Device is the target of a NinjaOne device.
func Device(id int) Target { return Target{KindDevice, id} }

// Organization is a NinjaOne organization of an instance. The rows about it and
// its devices share a partition.
type Organization struct {
	Instance string // normalised NinjaOne host
	ID       int
}

// Target is the organization as the target of its own fields.
func (o Organization) Target() Target { return Target{KindOrganization, o.ID} }

// Partition is the partition of the organization's rows.
func (o Organization) Partition() string { return fmt.Sprintf("%s|%d", o.Instance, o.ID) }

func (t Target) String() string { return fmt.Sprintf("%s %d", t.Kind, t.ID) }

// Record is what we know of one target: which of our values it holds.
type Record struct {
	Target   Target
	TenantID string            // the tenant whose sync wrote a device; "" for an organization
	Fields   map[string]string // NinjaOne custom field name to digest or mark
	Noted    Shared            // the fields whose notes have columns of their own
	settled  map[string]string // the digests or marks in those notes, by field
	Written  time.Time         // when NinjaOne last accepted a value; zero when unknown
	owner    string            // TenantID as it was read
	// Claims are the other tenants, by id, whose devices match this one too. For an
	// organization they are all tenants whose sections are kept.
	Claims  []string
	Singled *Singled // nil when nothing was refused
}

// MarkUnknown marks every value of ours as unknown, so that it is sent again.
func (r *Record) MarkUnknown() {
	for name, noted := range r.Fields {
		if Holds(noted) {
			r.Fields[name] = Unknown
		}
	}
}

// HoldsAny reports whether the target may hold any value of ours.
func (r *Record) HoldsAny() bool {
	for _, noted := range r.Fields {
		if Holds(noted) {
			return true
		}
	}
	return false
}

// Ledger keeps what NinjaOne accepted, by NinjaOne target. So it stays right when a
// tenant is mapped elsewhere or a device changes hands.
type Ledger struct {
	table *storage.Table
}

// New returns the ledger kept in the table NinjaOneSyncState.
func New(table *storage.Table) *Ledger { return &Ledger{table: table} }

func rowKey(t Target) string {
	if t.Kind == KindOrganization {
		return string(KindOrganization)
	}
	return fmt.Sprintf("%s-%d", t.Kind, t.ID)
}

// recordColumns are what load reads of a row: all but the values.
var recordColumns = append([]string{"TenantId", "Fields", "Written", columnClaims, columnSingled}, columns()...)

// Load returns every record of an organization, by target.
func (l *Ledger) Load(ctx context.Context, o Organization) (map[Target]*Record, error) {
	records := map[Target]*Record{}
	filter := storage.Eq("PartitionKey", o.Partition())
	for row, err := range l.table.List(ctx, filter, recordColumns...) {
		if err != nil {
			return nil, fmt.Errorf("read what NinjaOne organization %d last accepted: %w", o.ID, err)
		}
		r := &Record{TenantID: row.String("TenantId"), owner: row.String("TenantId"), Fields: fieldsOf(row), Written: row.Time("Written"), Claims: strings.Fields(row.String(columnClaims)), Singled: singledOf(row)}
		if row.RowKey() == string(KindOrganization) {
			r.Target = o.Target()
		} else if _, err := fmt.Sscanf(row.RowKey(), string(KindDevice)+"-%d", &r.Target.ID); err == nil {
			r.Target.Kind = KindDevice
		} else {
			continue // written by a later handler
		}
		r.settled = settledOf(row)
		for _, n := range notes {
			*n.in(&r.Noted) = row.String(n.field())
		}
		for name, digest := range r.settled {
			if r.Fields[name] != Unknown { // which a sync marked and did not get to claim
				r.Fields[name] = digest
			}
		}
		records[r.Target] = r
	}
	return records, nil
}

// fieldsOf reads the digests of a record. What cannot be read is unknown, so
// it is sent again.
func fieldsOf(row storage.Entity) map[string]string {
	fields := map[string]string{}
	if json.Unmarshal([]byte(row.String("Fields")), &fields) != nil || fields == nil {
		return map[string]string{}
	}
	return fields
}

func (l *Ledger) entity(o Organization, r *Record) (storage.Entity, error) {
	fields, err := json.Marshal(r.Fields)
	if err != nil {
		return nil, err
	}
	e := storage.Entity{
		"PartitionKey": o.Partition(),
		"RowKey":       rowKey(r.Target),
		"TenantId":     r.TenantID,
		"Fields":       string(fields),
	}
	if !r.Written.IsZero() {
		e["Written"] = r.Written.UTC()
	}
	if r.Singled != nil {
		note, err := json.Marshal(r.Singled)
		if err != nil {
			return nil, err
		}
		e[columnSingled] = string(note)
	}
	return e, nil
}

// Save writes records in as few transactions as the table allows. It leaves
// the columns of the shared fields as they are.
func (l *Ledger) Save(ctx context.Context, o Organization, records ...*Record) error {
	rows := make([]storage.Operation, 0, len(records))
	for _, r := range records {
		e, err := l.entity(o, r)
		if err != nil {
			return err
		}
		rows = append(rows, storage.MergeOp(e))
	}
	return storage.Doing(l.table.WriteBatch(ctx, rows), "note what is being sent to NinjaOne organization %d", o.ID)
}

// Values returns what NinjaOne last accepted for our fields of a device, by NinjaOne
// custom field name. A deviceID of 0 means the organization as a whole. The instance is
// the normalised NinjaOne host. A field whose value the ledger does not keep is missing.
// Nobody wrote it, or its value is too large.
func (l *Ledger) Values(ctx context.Context, o Organization, deviceID int) (map[string]Value, error) {
	t := Device(deviceID)
	if deviceID == 0 {
		t = o.Target()
	}
	row, err := l.table.Find(ctx, o.Partition(), rowKey(t))
	if err != nil {
		return nil, fmt.Errorf("read the values that NinjaOne %s last accepted: %w", t, err)
	}
	noted := fieldsOf(row)
	maps.Copy(noted, settledOf(row))
	return Kept(row, noted), nil
}

// Forget removes records: their targets are gone or belong to someone else.
func (l *Ledger) Forget(ctx context.Context, o Organization, targets ...Target) error {
	rows := make([]storage.Operation, 0, len(targets))
	for _, t := range targets {
		rows = append(rows, storage.DeleteOp(o.Partition(), rowKey(t)))
	}
	return storage.Doing(l.table.WriteBatch(ctx, rows), "forget targets of NinjaOne organization %d", o.ID)
}

// Owned reports whether some tenant's sync wrote the device as a device of
// the organization.
func (l *Ledger) Owned(ctx context.Context, o Organization, deviceID int) (bool, error) {
	row, err := l.table.Find(ctx, o.Partition(), rowKey(Device(deviceID)))
	if err != nil {
		return false, fmt.Errorf("see whether a sync wrote NinjaOne device %d: %w", deviceID, err)
	}
	return row != nil, nil
}

// OrganizationsOf finds in which organizations of an instance devices were written
// last. It looks through the whole table.
func (l *Ledger) OrganizationsOf(ctx context.Context, instance string, deviceIDs map[int]bool) (map[int]bool, error) {
	found := map[int]bool{}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(deviceIDs)), maxFilter) {
		var keys []string
		for _, id := range ids {
			keys = append(keys, storage.Eq("RowKey", rowKey(Device(id))))
		}
		within := storage.And(storage.Ge("PartitionKey", instance+"|"), storage.Lt("PartitionKey", instance+"}"), storage.Or(keys...))
		for row, err := range l.table.List(ctx, within, "PartitionKey", "RowKey") {
			if err != nil {
				return nil, fmt.Errorf("find the organizations of devices: %w", err)
			}
			if id, err := strconv.Atoi(strings.TrimPrefix(row.PartitionKey(), instance+"|")); err == nil {
				found[id] = true
			}
		}
	}
	return found, nil
}

// maxFilter is how many rows one query names: the service takes fifteen
// comparisons.
const maxFilter = 12

// SaveClaims notes the claims of records.
func (l *Ledger) SaveClaims(ctx context.Context, o Organization, records ...*Record) error {
	rows := make([]storage.Operation, 0, len(records))
	for _, r := range records {
		rows = append(rows, storage.MergeOp(storage.Entity{"PartitionKey": o.Partition(), "RowKey": rowKey(r.Target), columnClaims: strings.Join(r.Claims, " ")}))
	}
	return storage.Doing(l.table.WriteBatch(ctx, rows), "note which tenants share what is in NinjaOne organization %d", o.ID)
}

// Remapped is a record that changed because other fields are mapped now.
type Remapped struct {
	*Record
	Dropped []string // fields that are not ours any more
	Unnote  Shared   // the shared fields whose notes end: other ones are mapped
}

// SaveRemapped saves records as Save does, and with them what became of fields
// that are not mapped any more.
func (l *Ledger) SaveRemapped(ctx context.Context, o Organization, records []Remapped) error {
	rows := make([]storage.Operation, 0, len(records))
	for _, r := range records {
		e, err := l.entity(o, r.Record)
		if err != nil {
			return err
		}
		for _, name := range r.Dropped {
			Drop(e, name)
		}
		for _, n := range notes {
			if n.of(r.Unnote) != "" {
				e[n.field()] = ""
			}
		}
		rows = append(rows, storage.MergeOp(e))
	}
	return storage.Doing(l.table.WriteBatch(ctx, rows), "note which fields of NinjaOne organization %d are mapped", o.ID)
}

// DropValues takes the values that only people look at out of the records of a tenant's
// devices. It does so with the organization's own record, unless other tenants share it.
// Their next run writes that without this tenant. The tenant claims the organization no
// more.
func (l *Ledger) DropValues(ctx context.Context, o Organization, tenantID string, shared bool) error {
	var rows []storage.Operation
	for row, err := range l.table.List(ctx, storage.Eq("PartitionKey", o.Partition()), recordColumns...) {
		if err != nil {
			return err
		}
		e := storage.Entity{"PartitionKey": row.PartitionKey(), "RowKey": row.RowKey()}
		whole := row.RowKey() == string(KindOrganization)
		if whole {
			claims := slices.DeleteFunc(strings.Fields(row.String(columnClaims)), func(id string) bool { return id == tenantID })
			e[columnClaims] = strings.Join(claims, " ")
		}
		switch {
		case row.String("TenantId") == tenantID, whole && !shared:
			for field := range fieldsOf(row) {
				Drop(e, field)
			}
			for field := range settledOf(row) {
				Drop(e, field)
			}
		case !whole:
			continue
		}
		rows = append(rows, storage.MergeOp(e))
	}
	return l.table.WriteBatch(ctx, rows)
}

// Compare orders targets as runs write them: organizations first, then devices by their
// rows' keys. So a batch's rows lie near each other.
func Compare(a, b Target) int {
	return cmp.Or(-cmp.Compare(a.Kind, b.Kind), cmp.Compare(rowKey(a), rowKey(b)))
}
