package tenantsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// Marks that stand where a digest would.
const (
	markCleared = accepted.Cleared
	markSending = accepted.Sending
)

// kind is what a NinjaOne target is.
type kind string

const (
	kindOrganization kind = "organization"
	kindDevice       kind = "device"
)

// target is an organization or a device in NinjaOne.
type target struct {
	kind kind
	id   int
}

func (t target) String() string { return fmt.Sprintf("%s %d", t.kind, t.id) }

// textOrClear returns the value of a TEXT field; an empty text clears it.
func textOrClear(s string) ninjaone.Value {
	if s == "" {
		return ninjaone.Clear()
	}
	return ninjaone.Text(s)
}

// digest stands for a value in a record.
func digest(v ninjaone.Value) string { return accepted.Digest(v) }

// record is what we know of one target: which of our values it holds.
type record struct {
	target   target
	tenantID string            // the tenant whose sync wrote a device; "" for an organization
	fields   map[string]string // NinjaOne custom field name to digest or mark
	noted    string            // the field whose note has columns of its own; "" for none
	settled  string            // the digest or mark in that note
	written  time.Time         // when NinjaOne last accepted a value; zero when unknown
	taken    ninjaone.Fields   // values that NinjaOne accepted and that are not saved yet
	// claims are the other tenants, by id, whose devices match this one too.
	claims  []string
	singled *singled // nil when nothing was refused
}

// changes returns the values of want that the target does not hold yet.
func (r *record) changes(want ninjaone.Fields) ninjaone.Fields {
	return accepted.Changes(r.fields, want)
}

// doubt marks every value of ours as unknown, so that it is sent again.
func (r *record) doubt() {
	for name, noted := range r.fields {
		if accepted.Holds(noted) {
			r.fields[name] = markSending
		}
	}
}

// holdsAny reports whether the target may hold any value of ours.
func (r *record) holdsAny() bool {
	for _, noted := range r.fields {
		if accepted.Holds(noted) {
			return true
		}
	}
	return false
}

// State keeps what NinjaOne accepted. It is keyed by the NinjaOne target, so
// it stays right when a tenant is mapped elsewhere or a device changes hands.
type State struct {
	table *storage.Table
}

// NewState returns the state kept in the table NinjaOneSyncState.
func NewState(table *storage.Table) *State { return &State{table: table} }

func partition(instance string, organizationID int) string {
	return accepted.Partition(instance, organizationID)
}

func rowKey(t target) string {
	if t.kind == kindOrganization {
		return string(kindOrganization)
	}
	return fmt.Sprintf("%s-%d", t.kind, t.id)
}

// recordColumns are what load reads of a row: all but the values.
var recordColumns = []string{"TenantId", "Fields", "Written", columnField, columnDigest, columnRead, columnClaim, columnSince, columnClaims, columnSingled}

// load returns every record of an organization, by target.
func (s *State) load(ctx context.Context, instance string, organizationID int) (map[target]*record, error) {
	records := map[target]*record{}
	filter := storage.Eq("PartitionKey", partition(instance, organizationID))
	for row, err := range s.table.List(ctx, filter, recordColumns...) {
		if err != nil {
			return nil, fmt.Errorf("read what NinjaOne organization %d last accepted: %w", organizationID, err)
		}
		r := &record{tenantID: row.String("TenantId"), fields: fieldsOf(row), written: row.Time("Written"), claims: strings.Fields(row.String(columnClaims)), singled: singledOf(row)}
		if row.RowKey() == string(kindOrganization) {
			r.target = target{kindOrganization, organizationID}
		} else if _, err := fmt.Sscanf(row.RowKey(), string(kindDevice)+"-%d", &r.target.id); err == nil {
			r.target.kind = kindDevice
		} else {
			continue // written by a later handler
		}
		if note, noted := noteOf(row, row.String(columnField)); noted {
			r.noted, r.settled = row.String(columnField), note.settled()
			if r.fields[r.noted] != markSending { // which a sync marked and did not get to claim
				r.fields[r.noted] = r.settled
			}
		}
		records[r.target] = r
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

func (s *State) entity(instance string, organizationID int, r *record) (storage.Entity, error) {
	fields, err := json.Marshal(r.fields)
	if err != nil {
		return nil, err
	}
	e := storage.Entity{
		"PartitionKey": partition(instance, organizationID),
		"RowKey":       rowKey(r.target),
		"TenantId":     r.tenantID,
		"Fields":       string(fields),
		"Version":      int32(layout.Version),
	}
	if !r.written.IsZero() {
		e["Written"] = r.written.UTC()
	}
	if r.singled != nil {
		note, err := json.Marshal(r.singled)
		if err != nil {
			return nil, err
		}
		e[columnSingled] = string(note)
	}
	for field, v := range r.taken {
		accepted.Keep(e, field, v)
	}
	return e, nil
}

// saveAll writes records in as few transactions as the table allows. It leaves
// the columns of the compliance field as they are.
func (s *State) saveAll(ctx context.Context, instance string, organizationID int, records []*record) error {
	rows := make([]storage.Operation, 0, len(records))
	for _, r := range records {
		e, err := s.entity(instance, organizationID, r)
		if err != nil {
			return err
		}
		rows = append(rows, storage.MergeOp(e))
	}
	if err := s.table.WriteBatch(ctx, rows); err != nil {
		return fmt.Errorf("note what is being sent to NinjaOne organization %d: %w", organizationID, err)
	}
	return nil
}

// save writes one record.
func (s *State) save(ctx context.Context, instance string, organizationID int, r *record) error {
	return s.saveAll(ctx, instance, organizationID, []*record{r})
}

// Values returns the values that NinjaOne last accepted for our fields of a
// device, or of the organization as a whole where deviceID is 0, by NinjaOne
// custom field name. The instance is the normalised NinjaOne host. A field is
// missing where no value is kept: it was never written, or its value is too
// large to keep.
func (s *State) Values(ctx context.Context, instance string, organizationID, deviceID int) (map[string]accepted.Value, error) {
	t := target{kindDevice, deviceID}
	if deviceID == 0 {
		t = target{kindOrganization, organizationID}
	}
	row, err := s.table.Get(ctx, partition(instance, organizationID), rowKey(t))
	if errors.Is(err, storage.ErrNotFound) {
		return map[string]accepted.Value{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the values that NinjaOne %s last accepted: %w", t, err)
	}
	noted := fieldsOf(row)
	if note, ok := noteOf(row, row.String(columnField)); ok {
		noted[row.String(columnField)] = note.settled()
	}
	return accepted.Kept(row, noted), nil
}

// forget removes a record: the target is gone or belongs to someone else.
func (s *State) forget(ctx context.Context, instance string, organizationID int, t target) error {
	if err := s.table.Delete(ctx, partition(instance, organizationID), rowKey(t)); err != nil {
		return fmt.Errorf("forget NinjaOne %s: %w", t, err)
	}
	return nil
}

// owned reports whether some tenant's sync wrote the device as a device of
// the organization.
func (s *State) owned(ctx context.Context, instance string, organizationID, deviceID int) (bool, error) {
	_, err := s.table.Get(ctx, partition(instance, organizationID), rowKey(target{kindDevice, deviceID}))
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
