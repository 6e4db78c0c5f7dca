package vulnerabilities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

const (
	firstLook = 15 * time.Second // after an upload
	lookAgain = time.Minute
	slowAfter = 2 * time.Hour  // an import that takes longer is told
	deadAfter = 12 * time.Hour // and one that takes longer still counts as failed
)

// upload sends the file of a plan. Before the call, its row says that the answer is not
// known. So a turn after a crash finds out. The error is unread where NinjaOne did not
// take the file, or did not say so.
func (t *turn) upload(ctx context.Context, p *plan) error {
	s := p.status
	s.Digest, s.Rows, s.Uploaded, s.Import, s.Processed, s.Ended, s.Trouble = p.file.digest, len(p.file.rows), t.Now().UTC(), Sending, 0, time.Time{}, ""
	s.WaitingSince, s.WaitingRows = t.last.WaitingSince, t.last.WaitingRows // until NinjaOne took it
	s.Named = s.Named && s.GroupID == p.groupID
	s.GroupID, s.Held = p.groupID, p.held
	if err := t.keep(ctx, *p); err != nil {
		return err
	}
	if err := t.Files.save(ctx, s); err != nil {
		return err
	}
	g, err := t.client.UploadScan(ctx, s.GroupID, fileName(s.Digest), p.file.size, p.file.write)
	if ctx.Err() != nil && err != nil {
		return err
	}
	if err != nil {
		if refused(err) {
			back := t.last
			back.Confirmed, back.Queued = s.Confirmed, s.Queued
			if err := t.Files.save(ctx, back); err != nil {
				return err
			}
		}
		if errors.Is(err, ninjaone.ErrNotFound) {
			return unread{Problem: problems.Problem{Key: "group:gone", Message: fmt.Sprintf("NinjaOne's scan group %q was deleted while its file was sent. Make it again.", s.Group)}}
		}
		return failed("send:upload", fmt.Sprintf("NinjaOne did not take the file of %d rows for the scan group %q.", s.Rows, s.Group), err)
	}
	// What the answer says of an import may be of the one before.
	s.Import, s.Shown, s.WaitingSince, s.WaitingRows = InProgress, s.Digest, time.Time{}, 0
	s.Named = s.Named || g.FileName == fileName(s.Digest)
	if err := t.Files.save(ctx, s); err != nil {
		return err
	}
	p.status = s
	return t.Queue.Send(ctx, Message{TenantID: t.ref.ID, Look: true}, firstLook)
}

// refused reports whether NinjaOne certainly did not take a file.
func refused(err error) bool {
	answer, ok := errors.AsType[*ninjaone.APIError](err)
	return errors.Is(err, ninjaone.ErrNotSent) ||
		ok && answer.Status >= 400 && answer.Status < 500 && answer.Status != http.StatusRequestTimeout
}

// keep keeps the file and what it says, for the next preview and the cards.
func (t *turn) keep(ctx context.Context, p plan) error {
	body, err := packed(p.file.write)
	if err != nil {
		return err
	}
	if err := t.Files.Blobs.Put(ctx, fileBlob(t.ref.ID, p.file.digest), body); err != nil {
		return fmt.Errorf("keep the CVE file of tenant %s: %w", t.ref.ID, err)
	}
	return t.keepExposure(ctx, p)
}

func (t *turn) keepExposure(ctx context.Context, p plan) error {
	body, err := packed(func(w io.Writer) error { return json.NewEncoder(w).Encode(p.exposure) })
	if err != nil {
		return err
	}
	return storage.Doing(t.Files.Blobs.Put(ctx, exposureBlob(t.ref.ID, p.file.digest), body), "keep what the CVE file of tenant %s says", t.ref.ID)
}

// keepShown brings the cards up to date where NinjaOne has this very file: severities
// and updates may be new. What was forgotten while the tenant was not mapped is kept anew.
func (t *turn) keepShown(ctx context.Context, p *plan) error {
	if p.verdict != Nothing {
		return nil
	}
	p.exposure.Day = t.last.Uploaded
	switch t.last.Shown {
	case "":
		p.status.Shown = p.file.digest
		return t.keep(ctx, *p)
	case p.file.digest:
		return t.keepExposure(ctx, *p)
	}
	return nil
}

// tidy removes the blobs of a tenant's files, but for those of the file with the digest.
func (f Files) tidy(ctx context.Context, tenantID, digest string) error {
	for b, err := range f.Blobs.List(ctx, blobPrefix+tenantID+"/") {
		if err != nil {
			return fmt.Errorf("look for former CVE files of tenant %s: %w", tenantID, err)
		}
		if b.Name == fileBlob(tenantID, digest) || b.Name == exposureBlob(tenantID, digest) {
			continue
		}
		if err := f.Blobs.Delete(ctx, b.Name); err != nil {
			return fmt.Errorf("remove a former CVE file of tenant %s: %w", tenantID, err)
		}
	}
	return nil
}

// settle finds out what became of the last file, where that is still unknown. It keeps
// and tells the outcome. It reports whether the import still goes on.
func (t *turn) settle(ctx context.Context) (underway bool, err error) {
	if t.last.Import != InProgress && t.last.Import != Sending {
		return false, nil
	}
	g, err := t.client.ScanGroup(ctx, t.last.GroupID)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	s, underway := after(t.last, g, err, t.Now().UTC())
	if err != nil {
		t.Log.WarnContext(ctx, "the state of an import could not be read", "tenant", t.ref.ID, "error", err)
	}
	if s.Import != t.last.Import || s.Trouble != t.last.Trouble {
		if s.Import == Complete || s.Import == Failed {
			if err := t.Files.tidy(ctx, t.ref.ID, s.Digest); err != nil {
				return false, err
			}
		}
		if err := t.Files.save(ctx, s); err != nil {
			return false, err
		}
		if s.Import == Complete && s.Trouble == "" {
			line := fmt.Sprintf("NinjaOne imported the vulnerabilities: %d rows of %d devices in the scan group %q.", s.Rows, s.Matched, s.Group)
			t.CIPP.Note(ctx, cipp.LogEntry{Tenant: t.ref.DefaultDomain, TenantID: t.ref.ID, API: cipp.LogbookSync, Severity: cipp.SeverityInfo, Message: line})
		}
	}
	t.last = s
	return underway, t.tellImport(ctx, s)
}

// tellImport tells what is wrong with the last import. What was wrong with one before is
// over once an import completed.
func (t *turn) tellImport(ctx context.Context, s Status) error {
	if s.Trouble == "" && s.Import != Complete {
		return nil
	}
	var bad []problems.Problem
	if s.Trouble != "" {
		bad = append(bad, problems.Problem{Key: "import", Message: s.Trouble})
	}
	return t.tell(ctx, owner(t.ref.ID)+":import", bad)
}

// after is the status once NinjaOne answered about the group of an unfinished import. It
// is pure.
func after(s Status, g ninjaone.ScanGroup, err error, now time.Time) (_ Status, underway bool) {
	age := now.Sub(s.Uploaded)
	ended := func(as Import, format string, args ...any) (Status, bool) {
		s.Import, s.Ended, s.Trouble = as, now, ""
		if format != "" {
			s.Trouble = fmt.Sprintf(format, args...)
		}
		return s, false
	}
	where := fmt.Sprintf("of %d rows of vulnerabilities in the scan group %q", s.Rows, s.Group)
	switch {
	case s.Import == Sending && (err != nil || g.FileName != fileName(s.Digest)):
		return s, false // it did not come, or nobody knows: it is sent again
	case errors.Is(err, ninjaone.ErrNotFound):
		return ended(Failed, "NinjaOne's scan group %q was deleted during its import.", s.Group)
	case (err != nil || g.Status == ninjaone.ScanInProgress) && age >= deadAfter:
		return ended(Failed, "NinjaOne's import %s is not known to have ended within %s, and counts as failed. The next turn sends the file again.", where, runs.InWords(deadAfter))
	case err != nil:
		return s, true
	}
	s.Shown, s.WaitingSince, s.WaitingRows = s.Digest, time.Time{}, 0 // it came, which uses up a confirmation
	s.Named = s.Named || g.FileName == fileName(s.Digest)
	switch g.Status {
	case ninjaone.ScanInProgress:
		if s.Import = InProgress; age >= slowAfter {
			s.Trouble = fmt.Sprintf("NinjaOne's import %s has gone on for more than %s. If it does not end, ask NinjaOne's support.", where, runs.InWords(slowAfter))
		}
		return s, true
	case ninjaone.ScanComplete:
		s.Held, s.Processed = s.Rows, -1
		if g.Processed.OK {
			s.Processed = g.Processed.Value
		}
		if s.Processed >= 0 && s.Processed < s.Rows {
			return ended(Complete, "NinjaOne processed only %d of the %d rows of vulnerabilities in the scan group %q. Look at the group's last import in NinjaOne under Administration, Apps, Vulnerability Importer.", s.Processed, s.Rows, s.Group)
		}
		return ended(Complete, "")
	}
	s.Processed = g.Processed.Value
	return ended(Failed, "NinjaOne's import %s failed (%s), after %d records. The next turn sends the file again.", where, words.Clip(g.Status, 40), s.Processed)
}
