package vulnerabilities

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// Import is what became of the last file.
type Import string

// The states of an import. Sending says that the answer is unknown: NinjaOne may have the
// file or not.
const (
	NoImport   Import = ""
	Sending    Import = "sending"
	InProgress Import = "in progress"
	Complete   Import = "complete"
	Failed     Import = "failed"
)

// Where the CVEs of a turn came from.
const (
	SourceDefender = "Defender"     // Microsoft's export, with our own token
	SourceCache    = "CIPP's cache" // type DefenderCVEs
)

// Status is how the CVE file of a tenant stands: the row that the console shows.
type Status struct {
	TenantID string `json:"-"`

	// The last file that NinjaOne took, or may have taken (Import).
	Group     string    `json:"group,omitempty"`     // name of the scan group, as expected
	GroupID   int64     `json:"groupId,omitempty"`   // of the group that it was sent to
	Digest    string    `json:"digest,omitempty"`    // of the file; "" when none was sent yet
	Rows      int       `json:"rows,omitempty"`      // of the file, less its header
	Uploaded  time.Time `json:"uploaded,omitzero"`   // when it was sent
	Import    Import    `json:"import,omitempty"`    // what became of it
	Processed int       `json:"processed,omitempty"` // records that NinjaOne processed, once the import ended; -1 where it does not say
	Ended     time.Time `json:"ended,omitzero"`      // when the import was seen to have ended
	// Trouble says what is wrong with the last import, for a technician.
	Trouble string `json:"trouble,omitempty"`
	// Held are the rows of the last file whose import completed. Shown is the digest of the
	// last file that NinjaOne took, for cards and previews.
	Held  int    `json:"held,omitempty"`
	Shown string `json:"shown,omitempty"`
	// Named says that the group has shown a file name of ours. Another name is then somebody
	// else's.
	Named bool `json:"named,omitempty"`

	// What the last turn found.
	Turn          time.Time `json:"turn,omitzero"`           // when it ended
	Source        string    `json:"source,omitempty"`        // SourceDefender or SourceCache
	SourceAt      time.Time `json:"sourceAt,omitzero"`       // when that was read at Microsoft
	Reported      int       `json:"reported,omitempty"`      // pairs of device and CVE that Microsoft reports
	Matched       int       `json:"matched,omitempty"`       // devices with CVEs that NinjaOne has
	Unmatched     int       `json:"unmatched,omitempty"`     // devices with CVEs that NinjaOne does not have
	UnmatchedRows int       `json:"unmatchedRows,omitempty"` // pairs of these
	Unknown       []string  `json:"unknown,omitempty"`       // names of the first 50 such devices, as Defender has them
	Exceptions    int       `json:"exceptions,omitempty"`    // exceptions of CIPP that apply to a reported CVE
	Excepted      int       `json:"excepted,omitempty"`      // pairs that they leave out
	// Reason says why the last turn sent nothing, for a technician. It is "" when the
	// turn sent a file, or NinjaOne has the same bytes.
	Reason string `json:"reason,omitempty"`
	// Failures counts the turns in a row that could not read or send; the next one
	// comes sooner then.
	Failures int `json:"failures,omitempty"`

	// A file that waits for a confirmation. The zero WaitingSince is for none.
	WaitingSince time.Time `json:"waitingSince,omitzero"`
	WaitingRows  int       `json:"waitingRows,omitempty"`
	WaitingOver  int       `json:"waitingOver,omitempty"` // rows that the group holds at most in its place; 0 from an earlier version

	Queued    time.Time `json:"-"` // when its last turn was put on the queue
	Confirmed time.Time `json:"-"` // somebody confirmed what waited since then, or before; it counts once
	Unmapped  time.Time `json:"-"` // since when the tenant is known not to be mapped; zero while it is
}

// forgotten reports whether the row and the blobs hold nothing that people look at.
func (s Status) forgotten() bool { return s.Shown == "" && s.Turn.IsZero() }

// Waits reports whether a file waits for a confirmation that nobody gave yet.
func (s Status) Waits() bool {
	return !s.WaitingSince.IsZero() && s.Confirmed.Before(s.WaitingSince)
}

// Replaced is how many rows the file that waits would replace.
func (s Status) Replaced() int { return cmp.Or(s.WaitingOver, s.Rows) }

// confirmed reports whether somebody let the file go that waits.
func (s Status) confirmed() bool { return !s.WaitingSince.IsZero() && !s.Waits() }

// Files keeps how the tenants' files stand. It is safe for concurrent use.
type Files struct {
	Table *storage.Table     // NinjaOneVulnerabilities
	Blobs *storage.Container // ninjaone-sync
}

// All returns how the files stand, by tenant id.
func (f Files) All(ctx context.Context) (map[string]Status, error) {
	all, err := storage.ReadPartition(ctx, f.Table, partition, statusOf)
	return all, storage.Doing(err, "read how the CVE files stand")
}

// Of returns how a tenant's file stands; without turn when it has had none.
func (f Files) Of(ctx context.Context, tenantID string) (Status, error) {
	row, err := f.Table.Find(ctx, partition, tenantID)
	if err != nil {
		return Status{}, fmt.Errorf("read how the CVE file of tenant %s stands: %w", tenantID, err)
	}
	s := statusOf(row)
	s.TenantID = tenantID
	return s, nil
}

// save keeps what messages write.
func (f Files) save(ctx context.Context, s Status) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return f.write(ctx, s.TenantID, storage.Entity{columnStatus: string(text)})
}

// Confirm lets the file that waits since that time go once, and none that waits since
// later. The caller queues the tenant.
func (f Files) Confirm(ctx context.Context, tenantID string, since time.Time) error {
	since = since.UTC().Add(time.Microsecond) // a column is less exact than a status
	return f.write(ctx, tenantID, storage.Entity{columnConfirmed: since})
}

func (f Files) markQueued(ctx context.Context, tenantID string, now time.Time) error {
	return f.write(ctx, tenantID, storage.Entity{columnQueued: now.UTC()})
}

// write writes columns of a tenant's row, and leaves the others.
func (f Files) write(ctx context.Context, tenantID string, columns storage.Entity) error {
	columns["PartitionKey"], columns["RowKey"] = partition, tenantID
	return storage.Doing(f.Table.Merge(ctx, columns), "keep how the CVE file of tenant %s stands", tenantID)
}

// Exposure returns what the last file of a tenant says, for its cards. It is nil when
// NinjaOne took none yet, or nobody can read it any more.
func (f Files) Exposure(ctx context.Context, tenantID string) (*exposure.Tenant, error) {
	s, err := f.Of(ctx, tenantID)
	if err != nil || s.Shown == "" {
		return nil, err
	}
	body, err := f.unpacked(ctx, exposureBlob(tenantID, s.Shown))
	if err != nil || body == nil {
		return nil, err
	}
	var t exposure.Tenant
	if json.Unmarshal(body, &t) != nil {
		return nil, nil
	}
	return &t, nil
}

// unpacked reads a blob; nil when there is none, or it is cut.
func (f Files) unpacked(ctx context.Context, name string) ([]byte, error) {
	packed, err := f.Blobs.Find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read what was kept of a CVE file: %w", err)
	}
	in, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(in, ninjaone.MaxUpload+1))
	if err != nil || len(body) > ninjaone.MaxUpload {
		return nil, nil
	}
	return body, nil
}
