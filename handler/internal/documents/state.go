package documents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// kind is what a document is about.
type kind string

const (
	kindUser    kind = "user"
	kindLicense kind = "license"
)

// key names a document by what it is about: a user or SKU id in lower case.
type key struct {
	kind kind
	id   string
}

// nameField stands for the document's name among the digests of its fields.
const nameField = "documentName"

// Marks that stand where the id of a relation would.
const (
	relationSending = 0  // on its way; whether NinjaOne has it is unknown
	relationForeign = -1 // somebody else's relation connects the two
)

// record is what we know of one document. A nil record knows of none.
type record struct {
	key
	document  int                     // NinjaOne's id; 0 when there is none as far as is known
	archived  bool                    // we archived it, or found it gone from the list
	fields    map[string]string       // field name to digest or mark
	refused   string                  // digest of the content that NinjaOne refused, or restoreRefused
	reason    string                  // why
	relations map[ninjaone.Entity]int // of a user's document: host to relation id or mark
}

// restoreRefused stands in record.refused when it was not the content that
// NinjaOne refused, but to bring the document back.
const restoreRefused = "restore"

func newRecord(k key) *record {
	return &record{key: k, fields: map[string]string{}, relations: map[ninjaone.Entity]int{}}
}

// live reports whether there is a document that people see.
func (r *record) live() bool { return r != nil && r.document != 0 && !r.archived }

// pending reports whether a document was on its way and its id is not known.
func (r *record) pending() bool { return r != nil && r.document == 0 && len(r.fields) > 0 }

// reset forgets the document, which is gone.
func (r *record) reset() {
	*r = *newRecord(r.key)
}

// doubt marks every value as unknown, so that it is sent again.
func (r *record) doubt() {
	for name := range r.fields {
		r.fields[name] = accepted.Sending
	}
}

// progress is what we know of a tenant's documents as a whole.
type progress struct {
	template map[kind]int       // the template that the records are about
	listed   map[kind]time.Time // when the documents were last read
	related  time.Time          // when the relations were last read
}

// State keeps what NinjaOne accepted of documents, in the table
// NinjaOneSyncState: a partition for each tenant in each organization, a row
// for each document, keyed by what the document is about, because its own id
// is known only after NinjaOne's answer.
type State struct {
	table *storage.Table
	ended func() error // an error in tests only, which let the process end before a write
}

// NewState returns the state kept in the table NinjaOneSyncState.
func NewState(table *storage.Table) *State {
	return &State{table: table, ended: func() error { return nil }}
}

const (
	progressRow    = "documents" // row of the progress in a tenant's partition
	brakePartition = "documents-brake"

	// maxColumn is the length of one text column in characters, below Azure's
	// limit of 32 Ki.
	maxColumn = 30_000
	maxReason = 500
)

func partition(instance string, organizationID int, tenantID string) string {
	return accepted.Partition(instance, organizationID) + "|" + tenantID
}

// load returns the records of a tenant's documents, and the progress.
func (s *State) load(ctx context.Context, part string) (map[key]*record, progress, error) {
	records := map[key]*record{}
	p := progress{template: map[kind]int{}, listed: map[kind]time.Time{}}
	for row, err := range s.table.List(ctx, storage.Eq("PartitionKey", part)) {
		if err != nil {
			return nil, p, fmt.Errorf("read what is known of the tenant's documents: %w", err)
		}
		if row.RowKey() == progressRow {
			for k, name := range map[kind]string{kindUser: "User", kindLicense: "License"} {
				p.template[k] = int(row.Int(name + "Template"))
				p.listed[k] = row.Time(name + "Listed")
			}
			p.related = row.Time("Related")
			continue
		}
		k, ok := keyOf(row.RowKey())
		if !ok {
			continue // written by a later handler
		}
		records[k] = recordOf(k, row)
	}
	return records, p, nil
}

func rowKey(k key) string { return string(k.kind) + "-" + k.id }

func keyOf(row string) (key, bool) {
	k, id, found := strings.Cut(row, "-")
	return key{kind(k), id}, found && (kind(k) == kindUser || kind(k) == kindLicense)
}

func recordOf(k key, row storage.Entity) *record {
	r := newRecord(k)
	r.document, r.archived = int(row.Int("DocumentId")), row.Bool("Archived")
	r.refused, r.reason = row.String("Refused"), row.String("Reason")
	if json.Unmarshal([]byte(row.String("Fields")), &r.fields) != nil || r.fields == nil {
		r.fields = map[string]string{} // unknown: everything is sent again
	}
	for i := 0; ; i++ {
		column := row.String("Relations" + strconv.Itoa(i))
		if column == "" {
			return r
		}
		for item := range strings.SplitSeq(column, ",") {
			host, id, _ := strings.Cut(item, "=")
			if e, ok := entityOf(host); ok {
				r.relations[e], _ = strconv.Atoi(id)
			}
		}
	}
}

// entityText and entityOf are the form of a relation's host in a row.
func entityText(e ninjaone.Entity) string {
	if e.Type == ninjaone.EntityDevice {
		return "d" + strconv.Itoa(e.ID)
	}
	return "l" + strconv.Itoa(e.ID)
}

func entityOf(text string) (ninjaone.Entity, bool) {
	if text == "" {
		return ninjaone.Entity{}, false
	}
	id, err := strconv.Atoi(text[1:])
	switch {
	case err != nil:
		return ninjaone.Entity{}, false
	case text[0] == 'd':
		return ninjaone.Entity{Type: ninjaone.EntityDevice, ID: id}, true
	case text[0] == 'l':
		return ninjaone.Entity{Type: ninjaone.EntityDocument, ID: id}, true
	}
	return ninjaone.Entity{}, false
}

func (r *record) entity(part string) (storage.Entity, error) {
	fields, err := json.Marshal(r.fields)
	if err != nil {
		return nil, err
	}
	row := storage.Entity{
		"PartitionKey": part, "RowKey": rowKey(r.key), "Version": int32(accepted.Version),
		"DocumentId": int64(r.document), "Archived": r.archived, "Fields": string(fields),
		"Refused": r.refused, "Reason": r.reason,
	}
	var column strings.Builder
	n := 0
	flush := func() {
		if column.Len() > 0 {
			row["Relations"+strconv.Itoa(n)] = column.String()
			column.Reset()
			n++
		}
	}
	for _, host := range sortedEntities(r.relations) {
		if column.Len() > maxColumn {
			flush()
		}
		if column.Len() > 0 {
			column.WriteByte(',')
		}
		column.WriteString(entityText(host) + "=" + strconv.Itoa(r.relations[host]))
	}
	flush()
	return row, nil
}

// save writes records in as few transactions as the table allows.
func (s *State) save(ctx context.Context, part string, records ...*record) error {
	if err := s.ended(); err != nil {
		return err
	}
	rows := make([]storage.Entity, 0, len(records))
	for _, r := range records {
		row, err := r.entity(part)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if err := s.table.ReplaceAll(ctx, rows); err != nil {
		return fmt.Errorf("note what is known of documents: %w", err)
	}
	return nil
}

// forget removes records: their documents are gone.
func (s *State) forget(ctx context.Context, part string, records ...*record) error {
	ops := make([]storage.Operation, 0, len(records))
	for _, r := range records {
		ops = append(ops, storage.DeleteOp(part, rowKey(r.key)))
	}
	if err := s.table.WriteBatch(ctx, ops); err != nil {
		return fmt.Errorf("forget documents that are gone: %w", err)
	}
	return nil
}

func (s *State) saveProgress(ctx context.Context, part string, p progress) error {
	if err := s.ended(); err != nil {
		return err
	}
	row := storage.Entity{
		"PartitionKey": part, "RowKey": progressRow, "Version": int32(accepted.Version), "Related": p.related,
		"UserTemplate": int64(p.template[kindUser]), "UserListed": p.listed[kindUser],
		"LicenseTemplate": int64(p.template[kindLicense]), "LicenseListed": p.listed[kindLicense],
	}
	if err := s.table.Replace(ctx, row); err != nil {
		return fmt.Errorf("note the progress of documents: %w", err)
	}
	return nil
}

// userIDs returns the users of which the partition has a record.
func (s *State) userIDs(ctx context.Context, part string) ([]string, error) {
	var ids []string
	filter := storage.And(storage.Eq("PartitionKey", part), storage.Ge("RowKey", string(kindUser)+"-"), storage.Lt("RowKey", string(kindUser)+"."))
	for row, err := range s.table.List(ctx, filter, "RowKey") {
		if err != nil {
			return nil, fmt.Errorf("read which users another tenant of the organization has: %w", err)
		}
		if k, ok := keyOf(row.RowKey()); ok {
			ids = append(ids, k.id)
		}
	}
	return ids, nil
}

// Brake is a run's refusal to archive as many documents as it would have had
// to, until a person confirms that they are to go.
type Brake struct {
	TenantID       string
	OrganizationID int
	Archive        int       // documents that would be archived
	Of             int       // documents of the tenant
	Since          time.Time // UTC, when the brake was first put on
	Confirmed      bool
}

// Brakes returns the brakes that are on, by tenant id.
func (s *State) Brakes(ctx context.Context) (map[string]Brake, error) {
	brakes := map[string]Brake{}
	for row, err := range s.table.List(ctx, storage.Eq("PartitionKey", brakePartition)) {
		if err != nil {
			return nil, fmt.Errorf("read where archiving waits for a confirmation: %w", err)
		}
		brakes[row.RowKey()] = brakeOf(row)
	}
	return brakes, nil
}

// brake returns the tenant's brake; the zero Brake when none is on.
func (s *State) brake(ctx context.Context, tenantID string) (Brake, error) {
	row, err := s.table.Get(ctx, brakePartition, tenantID)
	if errors.Is(err, storage.ErrNotFound) {
		return Brake{}, nil
	}
	if err != nil {
		return Brake{}, fmt.Errorf("read whether archiving waits for a confirmation: %w", err)
	}
	return brakeOf(row), nil
}

func brakeOf(row storage.Entity) Brake {
	return Brake{
		TenantID: row.RowKey(), OrganizationID: int(row.Int("OrganizationId")),
		Archive: int(row.Int("Archive")), Of: int(row.Int("Of")),
		Since: row.Time("Since"), Confirmed: row.Bool("Confirmed"),
	}
}

// Confirm lets the tenant's next run archive the documents that it asked
// about. It does nothing when no brake is on.
func (s *State) Confirm(ctx context.Context, tenantID string) error {
	row := storage.Entity{"PartitionKey": brakePartition, "RowKey": strings.ToLower(tenantID), "Confirmed": true}
	if err := s.table.MergeIfMatch(ctx, row, storage.AnyETag); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("confirm that documents may be archived: %w", err)
	}
	return nil
}

func (s *State) putBrakeOn(ctx context.Context, b Brake) error {
	row := storage.Entity{
		"PartitionKey": brakePartition, "RowKey": b.TenantID, "Version": int32(accepted.Version),
		"OrganizationId": int64(b.OrganizationID), "Archive": int32(b.Archive), "Of": int32(b.Of),
		"Since": b.Since.UTC(), "Confirmed": b.Confirmed,
	}
	if err := s.table.Replace(ctx, row); err != nil {
		return fmt.Errorf("note that archiving waits for a confirmation: %w", err)
	}
	return nil
}

func (s *State) takeBrakeOff(ctx context.Context, tenantID string) error {
	if err := s.table.Delete(ctx, brakePartition, tenantID); err != nil {
		return fmt.Errorf("note that archiving no longer waits for a confirmation: %w", err)
	}
	return nil
}
