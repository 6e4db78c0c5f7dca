package tenantsync

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/ninjasim"
)

// withDocuments switches the documents of users on, of which there are so many.
func (b *bench) withDocuments(users int) {
	b.configure(`,"UserDocumentsEnabled":true`)
	b.Documents = &documents.Syncer{
		CIPP: b.CIPP, Ledger: ledger.New(b.account.Table(azuritetest.UniqueName(b.t))), Blobs: b.Blobs,
		Now: b.now, Log: slog.New(slog.DiscardHandler),
	}
	b.reader.snapshot = newWorld(1, users).snapshot
}

// TestDocumentsNoteWhatIsForced ends a forced run in the middle of its
// documents. From then on nothing is forced any more: the next run writes the
// other documents, and no field that the forced run wrote.
func TestDocumentsNoteWhatIsForced(t *testing.T) {
	b := newBench(t, 1)
	b.withDocuments(150)
	b.sync(Message{})

	b.ninja.ResetCounters()
	remove := b.ninja.InjectFault(ninjasim.Fault{Method: http.MethodPatch, Path: "^/v2/organization/documents$", Skip: 1, Status: 401,
		Body: `{"error":"not_authenticated","error_code":10}`})
	b.sync(Message{Force: true})
	remove()
	if r := b.last(); r.Status != runs.Failed || r.Documents != 100 || r.Owed != "" {
		t.Errorf("the forced run: %s, %d documents, and owes %q", r.Status, r.Documents, r.Owed)
	}
	b.sync(Message{})
	if r := b.last(); r.Status != runs.Completed || r.Documents != 50 || r.Devices+r.OrganizationFields != 0 {
		t.Errorf("the next run: %+v", r)
	}
	times := map[int]int{}
	for _, c := range b.ninja.DocumentWrites() {
		times[c.ID]++
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("document %d was written %d times", id, n)
		}
	}
	if len(times) != 150 {
		t.Errorf("%d documents were written again, want all 150", len(times))
	}
}

// TestForcedDocumentsWait forces a run while the templates cannot be read: the
// documents are written again once they can.
func TestForcedDocumentsWait(t *testing.T) {
	b := newBench(t, 1)
	b.withDocuments(3)
	b.sync(Message{})
	remove := b.ninja.InjectFault(ninjasim.Fault{Method: http.MethodGet, Path: "^/v2/document-templates$", Status: 400, Body: `{"resultCode":"FAILURE"}`})
	b.sync(Message{Force: true})
	remove()
	if r := b.last(); r.Documents != 0 || r.Status != runs.Completed || r.Owed != runs.OwedDocuments {
		t.Errorf("without templates: %s, %d documents, and owes %q", r.Status, r.Documents, r.Owed)
	}
	b.sync(Message{})
	if r := b.last(); r.Documents != 3 || r.Owed != "" {
		t.Errorf("with templates: %d documents, and owes %q", r.Documents, r.Owed)
	}
	b.sync(Message{})
	if r := b.last(); r.Documents != 0 {
		t.Errorf("after that: %d documents", r.Documents)
	}
}

// TestDocumentsStayWhenSwitchedOff saves the settings as CIPP's page does when the
// documents are switched off: what is in NinjaOne stays as it is, whoever leaves.
func TestDocumentsStayWhenSwitchedOff(t *testing.T) {
	b := newBench(t, 1)
	b.withDocuments(3)
	b.sync(Message{})
	before := b.ninja.Documents(labOrganization)
	b.withDocuments(2)
	b.configure(`,"UserDocumentsEnabled":false,"LicenseDocumentsEnabled":false`)
	b.ninja.ResetCounters()
	for _, m := range []Message{{}, {Force: true}} {
		b.sync(m)
	}
	if r := b.last(); r.Status != runs.Completed || len(b.ninja.DocumentWrites()) > 0 || !cmp.Equal(before, b.ninja.Documents(labOrganization)) || len(before) != 3 {
		t.Errorf("switched off: %s, %v", r.Status, b.ninja.DocumentWrites())
	}
	b.configure(`,"UserDocumentsEnabled":true`)
	b.sync(Message{})
	archived := 0
	for _, d := range b.ninja.Documents(labOrganization) {
		if d.Archived {
			archived++
		}
	}
	if archived != 1 {
		t.Errorf("switched on again: %d documents were archived for one who left", archived)
	}
}
