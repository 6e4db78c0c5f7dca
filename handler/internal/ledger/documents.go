package ledger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// Subject is what a document is about: a user or SKU id in lower case.
type Subject struct {
	Kind Kind
	ID   string
}

// The kinds of subjects that have documents.
const (
	KindUser    Kind = "user"
	KindLicense Kind = "license"
)

// Document is what we know of one document. A nil Document knows of none. A
// tenant may have tens of thousands, so Fields and Relations are packed.
type Document struct {
	Subject
	DocumentID int       // NinjaOne's id; 0 when there is none as far as is known
	Archived   bool      // we archived it, or found it gone from the list
	Fields     Values    // what NinjaOne holds in its fields, and as its name
	Refused    string    // digest of the content that NinjaOne refused, or of a name alone (see RefusedName); "" for none
	Reason     string    // why
	Tried      int64     // when NinjaOne last refused it, in seconds since 1970
	Relations  Relations // of a user's document: to its hosts
	Name       string    // of a licence's product, as it was last known, or the document had it when it was adopted; "" for none
	Attempt    *Attempt  // what was tried with it; nil while NinjaOne refused nothing of it
	Ended      int64     // when it was archived because its user or licence ended, in seconds since 1970; 0 otherwise
}

// NameField stands for the document's name among its fields.
const NameField = "documentName"

const namePrefix = "name:"

// RefusedName stands in Document.Refused for the digest of a name that NinjaOne
// refused, of a document that it takes otherwise.
func RefusedName(digest string) string { return namePrefix + digest }

// RefusedName returns the digest of the name that alone was refused; "" for none.
func (d *Document) RefusedName() string {
	name, _ := strings.CutPrefix(d.Refused, namePrefix)
	if name == d.Refused {
		return ""
	}
	return name
}

// ForgetRefusal forgets what NinjaOne refused, because it takes it now.
func (d *Document) ForgetRefusal() { d.Refused, d.Reason, d.Tried = "", "", 0 }

// Live reports whether there is a document that people see.
func (d *Document) Live() bool { return d != nil && d.DocumentID != 0 && !d.Archived }

// Pending reports whether a document was on its way and its id is unknown.
func (d *Document) Pending() bool { return d != nil && d.DocumentID == 0 && d.Fields != (Values{}) }

// Reset forgets the document, which is gone.
func (d *Document) Reset() { *d = Document{Subject: d.Subject, Name: d.Name, Attempt: d.Attempt} }

// MarkUnknown marks every value as unknown, so that it is sent again.
func (d *Document) MarkUnknown() {
	for i := range d.Fields {
		if d.Fields[i].mark != 0 {
			d.Fields[i] = packedValue{mark: Unknown[0]}
		}
	}
}

// documentFields are the fields that a Document can note.
var documentFields = [...]string{
	NameField, compose.FieldTenantID,
	compose.FieldUserLinks, compose.FieldUserSummary, compose.FieldUserDevices, compose.FieldUserGroups,
	compose.FieldUserID, compose.FieldUserUPN,
	compose.FieldLicenseSummary, compose.FieldLicenseUsers, compose.FieldLicenseID,
}

// Values notes, by field, the digest of the value that NinjaOne holds, or a mark.
type Values [len(documentFields)]packedValue

type packedValue struct {
	mark   byte             // 0 when nothing is noted
	digest [DigestSize]byte // as Digest writes it in hexadecimal, with the mark digested
}

const digested = '#'

// Set notes a field's digest or mark. What is neither is noted as unknown.
func (vs *Values) Set(field, digest string) {
	i := slices.Index(documentFields[:], field)
	if i < 0 {
		return // of a field that no document of ours has; it never differs
	}
	vs[i] = packedValue{mark: Unknown[0]}
	if digest == Cleared {
		vs[i].mark = Cleared[0]
	} else if raw, err := hex.DecodeString(digest); err == nil && len(raw) == DigestSize {
		vs[i] = packedValue{digested, [DigestSize]byte(raw)}
	}
}

// Get returns a field's digest or mark; "" when nothing is noted.
func (vs *Values) Get(field string) string {
	if i := slices.Index(documentFields[:], field); i >= 0 {
		return vs[i].text()
	}
	return ""
}

// All returns the digests and marks by field.
func (vs *Values) All() map[string]string {
	all := make(map[string]string, len(vs))
	for i, v := range vs {
		if v.mark != 0 {
			all[documentFields[i]] = v.text()
		}
	}
	return all
}

func (v packedValue) text() string {
	switch v.mark {
	case 0:
		return ""
	case digested:
		return hex.EncodeToString(v.digest[:])
	}
	return string(rune(v.mark))
}

// Attempt is what the runs of one sync tried with a document. NinjaOne refused something
// of it, alone or with others. The row keeps the attempt, since each run may have time
// for one call only.
//
// A limit says with how many others something may be sent, itself included. It is half
// of those that were refused together.
type Attempt struct {
	Begun    time.Time `json:"begun"`              // when the first of these runs began
	Limit    int       `json:"part,omitempty"`     // of the document; 0 for none
	Restored bool      `json:"restored,omitempty"` // it was tried to restore it
	Unnamed  bool      `json:"unnamed,omitempty"`  // its name is left out; a new document gets another one
	Bare     bool      `json:"bare,omitempty"`     // it was refused without its name, too
	Name     string    `json:"name,omitempty"`     // digest of the name that it is to have
	Reason   string    `json:"reason,omitempty"`   // of the last refusal
	// Hosts are the limits of its relations, by packed host; 0 when one was
	// refused alone.
	Hosts    map[int64]int `json:"hosts,omitempty"`
	Unlinked string        `json:"unlinked,omitempty"` // why its relation was refused
	Refused  string        `json:"-"`                  // digest of the content that NinjaOne refused; "" while that is not certain
}

// Try returns what the runs that began at a time tried with the document.
func (d *Document) Try(begun time.Time) *Attempt {
	if d.Attempt == nil {
		d.Attempt = &Attempt{Begun: begun}
	}
	return d.Attempt
}

// Reason is what is kept of why NinjaOne refused something.
func Reason(err error) string { return words.Clip(err.Error(), maxReason) }

// LimitTo notes that the relation to a host was refused with so many others.
func (a *Attempt) LimitTo(host ninjaone.Entity, refused int) {
	if a.Hosts == nil {
		a.Hosts = map[int64]int{}
	}
	a.Hosts[packHost(host)] = refused / 2
}

// LimitOf returns the limit of the relation to a host, and whether it has one.
func (a *Attempt) LimitOf(host ninjaone.Entity) (limit int, limited bool) {
	if a != nil {
		limit, limited = a.Hosts[packHost(host)]
	}
	return limit, limited
}

// Progress is what we know of a tenant's documents as a whole.
type Progress struct {
	Template map[Kind]int       // the template that the documents are of
	Listed   map[Kind]time.Time // when the documents were last read
	Unowned  map[Kind]bool      // then there were some that may be anybody's
	Related  time.Time          // when the relations were last read
	// Confirmed is when an archiving that a person confirmed was done last.
	Confirmed time.Time
}

// TenantDocuments keeps a tenant's documents in one organization.
type TenantDocuments struct {
	table     *storage.Table
	partition string
}

// Documents returns what is kept of a tenant's documents. Its id is in lower case.
func (l *Ledger) Documents(o Organization, tenantID string) TenantDocuments {
	return TenantDocuments{l.table, o.Partition() + "|" + tenantID}
}

// Load returns what is known of the tenant's documents.
func (d TenantDocuments) Load(ctx context.Context) (map[Subject]*Document, Progress, error) {
	documents := map[Subject]*Document{}
	p := Progress{Template: map[Kind]int{}, Listed: map[Kind]time.Time{}, Unowned: map[Kind]bool{}}
	for row, err := range d.table.List(ctx, storage.Eq("PartitionKey", d.partition)) {
		if err != nil {
			return nil, p, fmt.Errorf("read what is known of the tenant's documents: %w", err)
		}
		if s, ok := subjectOf(row.RowKey()); ok {
			documents[s] = documentOf(s, row)
		} else if row.RowKey() == progressRow { // else written by a later handler
			for k, prefix := range columnPrefix {
				p.Template[k], p.Listed[k], p.Unowned[k] = int(row.Int(prefix+"Template")), row.Time(prefix+"Listed"), row.Bool(prefix+"Unowned")
			}
			p.Related, p.Confirmed = row.Time("Related"), row.Time("Confirmed")
		}
	}
	return documents, p, nil
}

func (s Subject) rowKey() string { return string(s.Kind) + "-" + s.ID }

func subjectOf(row string) (Subject, bool) {
	k, id, found := strings.Cut(row, "-")
	return Subject{Kind(k), id}, found && columnPrefix[Kind(k)] != ""
}

func documentOf(s Subject, row storage.Entity) *Document {
	d := &Document{
		Subject: s, DocumentID: int(row.Int("DocumentId")), Archived: row.Bool("Archived"),
		Refused: row.String("Refused"), Reason: row.String("Reason"), Tried: row.Int("Tried"), Name: row.String("Name"),
		Ended: row.Int("Ended"),
	}
	if text := row.String("Attempt"); text != "" && json.Unmarshal([]byte(text), &d.Attempt) != nil {
		d.Attempt = nil
	}
	for field, digest := range fieldsOf(row) {
		d.Fields.Set(field, digest)
	}
	for i := 0; ; i++ {
		column := row.String("Relations" + strconv.Itoa(i))
		if column == "" {
			return d
		}
		d.Relations.read(column)
	}
}

func (d *Document) entity(partition string) (storage.Entity, error) {
	fields, err := json.Marshal(d.Fields.All())
	if err != nil {
		return nil, err
	}
	row := storage.Entity{
		"PartitionKey": partition, "RowKey": d.rowKey(),
		"DocumentId": int64(d.DocumentID), "Archived": d.Archived, "Fields": string(fields),
		"Refused": d.Refused, "Reason": d.Reason, "Tried": d.Tried,
	}
	if d.Name != "" {
		row["Name"] = d.Name
	}
	if d.Ended != 0 {
		row["Ended"] = d.Ended
	}
	if d.Attempt != nil && !d.Attempt.Begun.IsZero() {
		attempt, err := json.Marshal(d.Attempt)
		if err != nil {
			return nil, err
		}
		row["Attempt"] = string(attempt)
	}
	for n, column := range d.Relations.columns() {
		row["Relations"+strconv.Itoa(n)] = column
	}
	return row, nil
}

// Save writes documents in as few transactions as the table allows.
func (d TenantDocuments) Save(ctx context.Context, documents ...*Document) error {
	for chunk := range slices.Chunk(documents, documentRows) {
		rows := make([]storage.Entity, 0, len(chunk))
		for _, document := range chunk {
			row, err := document.entity(d.partition)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		if err := d.table.ReplaceAll(ctx, rows); err != nil {
			return fmt.Errorf("note what is known of documents: %w", err)
		}
	}
	return nil
}

// Forget removes what is known of documents that are gone.
func (d TenantDocuments) Forget(ctx context.Context, documents ...*Document) error {
	ops := make([]storage.Operation, 0, len(documents))
	for _, document := range documents {
		ops = append(ops, storage.DeleteOp(d.partition, document.rowKey()))
	}
	return storage.Doing(d.table.WriteBatch(ctx, ops), "forget documents that are gone")
}

// SaveProgress notes how far the documents as a whole are known.
func (d TenantDocuments) SaveProgress(ctx context.Context, p Progress) error {
	row := storage.Entity{"PartitionKey": d.partition, "RowKey": progressRow, "Related": p.Related}
	row.SetTimes(map[string]time.Time{"Confirmed": p.Confirmed})
	for k, prefix := range columnPrefix {
		row[prefix+"Template"], row[prefix+"Listed"] = int64(p.Template[k]), p.Listed[k]
		if p.Unowned[k] {
			row[prefix+"Unowned"] = true
		}
	}
	return storage.Doing(d.table.Replace(ctx, row), "note the progress of documents")
}

// Subjects returns the subjects with a record, and the kinds whose documents were ever
// read.
func (d TenantDocuments) Subjects(ctx context.Context) (subjects []Subject, read map[Kind]bool, err error) {
	read = map[Kind]bool{}
	for row, err := range d.table.List(ctx, storage.Eq("PartitionKey", d.partition), "RowKey", columnPrefix[KindUser]+"Listed", columnPrefix[KindLicense]+"Listed") {
		if err != nil {
			return nil, nil, fmt.Errorf("read what another tenant of the organization has: %w", err)
		}
		if s, ok := subjectOf(row.RowKey()); ok {
			subjects = append(subjects, s)
		}
		for k, prefix := range columnPrefix {
			read[k] = read[k] || !row.Time(prefix+"Listed").IsZero()
		}
	}
	return subjects, read, nil
}

// LicenseNames returns the names of licences, by SKU id, as [Document] has them.
func (d TenantDocuments) LicenseNames(ctx context.Context) (map[string]string, error) {
	names := map[string]string{}
	filter := storage.And(storage.Eq("PartitionKey", d.partition), storage.Ge("RowKey", string(KindLicense)+"-"), storage.Lt("RowKey", string(KindLicense)+"."))
	for row, err := range d.table.List(ctx, filter, "RowKey", "Name") {
		if err != nil {
			return nil, fmt.Errorf("read the names of licences: %w", err)
		}
		if s, ok := subjectOf(row.RowKey()); ok {
			names[s.ID] = row.String("Name")
		}
	}
	return names, nil
}

// Makers returns whom NinjaOne names as having made the relations of this
// application.
func (l *Ledger) Makers(ctx context.Context, instance string) (map[int]bool, error) {
	ids := map[int]bool{}
	row, err := l.table.Find(ctx, makerPartition, instance)
	if err != nil {
		return nil, fmt.Errorf("read who makes relations: %w", err)
	}
	for id := range strings.SplitSeq(row.String("Ids"), ",") {
		if n, err := strconv.Atoi(id); err == nil {
			ids[n] = true
		}
	}
	return ids, nil
}

// SaveMakers notes what Makers returns.
func (l *Ledger) SaveMakers(ctx context.Context, instance string, ids map[int]bool) error {
	text := strings.ReplaceAll(strings.Trim(fmt.Sprint(slices.Sorted(maps.Keys(ids))), "[]"), " ", ",")
	row := storage.Entity{"PartitionKey": makerPartition, "RowKey": instance, "Ids": text}
	return storage.Doing(l.table.Replace(ctx, row), "note who makes relations")
}

// Brake is a run's refusal to archive as many documents as it should, until a person
// confirms it.
type Brake struct {
	TenantID       string
	OrganizationID int
	Archive        int       // documents that would be archived
	Of             int       // documents of the tenant
	Since          time.Time // UTC, when the brake was first put on
	Confirmed      bool
}

// Brakes returns the brakes that are on, by tenant id.
func (l *Ledger) Brakes(ctx context.Context) (map[string]Brake, error) {
	brakes, err := storage.ReadPartition(ctx, l.table, brakePartition, brakeOf)
	return brakes, storage.Doing(err, "read where archiving waits for a confirmation")
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
func (l *Ledger) Confirm(ctx context.Context, tenantID string) error {
	row := storage.Entity{"PartitionKey": brakePartition, "RowKey": strings.ToLower(tenantID), "Confirmed": true}
	if err := l.table.MergeIfMatch(ctx, row, storage.AnyETag); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("confirm that documents may be archived: %w", err)
	}
	return nil
}

// PutBrakeOn notes that a tenant's archiving waits for a confirmation.
func (l *Ledger) PutBrakeOn(ctx context.Context, b Brake) error {
	row := storage.Entity{
		"PartitionKey": brakePartition, "RowKey": b.TenantID,
		"OrganizationId": int64(b.OrganizationID), "Archive": int32(b.Archive), "Of": int32(b.Of),
		"Since": b.Since.UTC(), "Confirmed": b.Confirmed,
	}
	return storage.Doing(l.table.Replace(ctx, row), "note that archiving waits for a confirmation")
}

// TakeBrakeOff notes that a tenant's archiving no longer waits.
func (l *Ledger) TakeBrakeOff(ctx context.Context, tenantID string) error {
	return storage.Doing(l.table.Delete(ctx, brakePartition, tenantID), "note that archiving no longer waits for a confirmation")
}
