package documents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/storage"
)

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
	makerPartition = "documents-makers" // a row for each instance

	// maxColumn is the length of one text column in characters, below Azure's
	// limit of 32 Ki.
	maxColumn = 30_000
	maxReason = 500

	// saveChunk is how many records become rows at a time: a multiple of the
	// hundred that one transaction takes.
	saveChunk = 1000
)

func partition(instance string, organizationID int, tenantID string) string {
	return ledger.Organization{Instance: instance, ID: organizationID}.Partition() + "|" + tenantID
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
			for _, k := range []kind{kindUser, kindLicense} {
				p.template[k] = int(row.Int(templateColumn(k)))
				p.listed[k] = row.Time(listedColumn(k))
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

// The columns of the progress: UserTemplate, UserListed, LicenseTemplate and
// LicenseListed.
func templateColumn(k kind) string { return columnPrefix[k] + "Template" }
func listedColumn(k kind) string   { return columnPrefix[k] + "Listed" }

var columnPrefix = map[kind]string{kindUser: "User", kindLicense: "License"}

func rowKey(k key) string { return string(k.kind) + "-" + k.id }

func keyOf(row string) (key, bool) {
	k, id, found := strings.Cut(row, "-")
	return key{kind(k), id}, found && (kind(k) == kindUser || kind(k) == kindLicense)
}

func recordOf(k key, row storage.Entity) *record {
	r := newRecord(k)
	r.document, r.archived = int(row.Int("DocumentId")), row.Bool("Archived")
	r.refused, r.reason, r.tried = row.String("Refused"), row.String("Reason"), row.Int("Tried")
	if text := row.String("Attempt"); text != "" && json.Unmarshal([]byte(text), &r.attempt) != nil {
		r.attempt = nil
	}
	var fields map[string]string // unknown, everything is sent again
	_ = json.Unmarshal([]byte(row.String("Fields")), &fields)
	for field, digest := range fields {
		r.fields.set(field, digest)
	}
	for i := 0; ; i++ {
		column := row.String("Relations" + strconv.Itoa(i))
		if column == "" {
			return r
		}
		r.relations = slices.Grow(r.relations, strings.Count(column, ",")+1)
		for item := range strings.SplitSeq(column, ",") {
			if l, ok := linkOf(item); ok {
				r.relations.set(l.entity(), int(l.id))
			}
		}
	}
}

func (r *record) entity(part string) (storage.Entity, error) {
	fields, err := json.Marshal(r.fields.all())
	if err != nil {
		return nil, err
	}
	row := storage.Entity{
		"PartitionKey": part, "RowKey": rowKey(r.key), "Version": int32(layout.Version),
		"DocumentId": int64(r.document), "Archived": r.archived, "Fields": string(fields),
		"Refused": r.refused, "Reason": r.reason, "Tried": r.tried,
	}
	if r.attempt != nil && !r.attempt.Begun.IsZero() {
		attempt, err := json.Marshal(r.attempt)
		if err != nil {
			return nil, err
		}
		row["Attempt"] = string(attempt)
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
	for _, l := range r.relations {
		if column.Len() > maxColumn {
			flush()
		}
		if column.Len() > 0 {
			column.WriteByte(',')
		}
		column.WriteString(l.String())
	}
	flush()
	return row, nil
}

// save writes records in as few transactions as the table allows.
func (s *State) save(ctx context.Context, part string, records ...*record) error {
	if err := s.ended(); err != nil {
		return err
	}
	for chunk := range slices.Chunk(records, saveChunk) {
		rows := make([]storage.Entity, 0, len(chunk))
		for _, r := range chunk {
			row, err := r.entity(part)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		if err := s.table.ReplaceAll(ctx, rows); err != nil {
			return fmt.Errorf("note what is known of documents: %w", err)
		}
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

// template returns the template that a tenant's documents of a kind are of; 0
// when none is remembered.
func (s *State) template(ctx context.Context, part string, k kind) (int, error) {
	row, err := s.table.Get(ctx, part, progressRow)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return 0, fmt.Errorf("read which template the tenant's documents are of: %w", err)
	}
	return int(row.Int(templateColumn(k))), nil
}

func (s *State) saveProgress(ctx context.Context, part string, p progress) error {
	if err := s.ended(); err != nil {
		return err
	}
	row := storage.Entity{
		"PartitionKey": part, "RowKey": progressRow, "Version": int32(layout.Version), "Related": p.related,
	}
	for _, k := range []kind{kindUser, kindLicense} {
		row[templateColumn(k)], row[listedColumn(k)] = int64(p.template[k]), p.listed[k]
	}
	if err := s.table.Replace(ctx, row); err != nil {
		return fmt.Errorf("note the progress of documents: %w", err)
	}
	return nil
}

// makers returns who NinjaOne names as having made the relations of this
// application.
func (s *State) makers(ctx context.Context, instance string) (map[int]bool, error) {
	ids := map[int]bool{}
	row, err := s.table.Get(ctx, makerPartition, instance)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("read who makes relations: %w", err)
	}
	for id := range strings.SplitSeq(row.String("Ids"), ",") {
		if n, err := strconv.Atoi(id); err == nil {
			ids[n] = true
		}
	}
	return ids, nil
}

func (s *State) saveMakers(ctx context.Context, instance string, ids map[int]bool) error {
	if err := s.ended(); err != nil {
		return err
	}
	var text []string
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		text = append(text, strconv.Itoa(id))
	}
	row := storage.Entity{"PartitionKey": makerPartition, "RowKey": instance, "Version": int32(layout.Version), "Ids": strings.Join(text, ",")}
	if err := s.table.Replace(ctx, row); err != nil {
		return fmt.Errorf("note who makes relations: %w", err)
	}
	return nil
}

// ids returns the users or licences of which the partition has a record, and
// whether their documents were ever read.
func (s *State) ids(ctx context.Context, part string, k kind) (ids []string, read bool, err error) {
	filter := storage.And(storage.Eq("PartitionKey", part), storage.Ge("RowKey", string(k)+"-"), storage.Lt("RowKey", string(k)+"."))
	for row, err := range s.table.List(ctx, filter, "RowKey") {
		if err != nil {
			return nil, false, fmt.Errorf("read what another tenant of the organization has: %w", err)
		}
		if k, ok := keyOf(row.RowKey()); ok {
			ids = append(ids, k.id)
		}
	}
	row, err := s.table.Get(ctx, part, progressRow)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, false, fmt.Errorf("read what another tenant of the organization has: %w", err)
	}
	return ids, !row.Time(listedColumn(k)).IsZero(), nil
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
		"PartitionKey": brakePartition, "RowKey": b.TenantID, "Version": int32(layout.Version),
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
