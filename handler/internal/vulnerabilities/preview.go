package vulnerabilities

import (
	"context"
	"errors"
	"fmt"
)

// Preview is what the next upload of a tenant would do, compared with the last file.
// Nothing is written for it.
type Preview struct {
	// Now is the status as the turn would leave it.
	Now  Status
	Last Status // as it is
	// Verdict is what the turn would do.
	Verdict Verdict
	Rows    int // of the file
	// Added and Removed are how many rows the file would have more and less than
	// the last one; NoLast says that the last one was not kept.
	Added, Removed int
	NoLast         bool
	// FirstAdded and FirstRemoved are the first Previewed of these, in the file's
	// order.
	FirstAdded, FirstRemoved []Row
}

// Previewed is how many rows of a difference a preview lists.
const Previewed = 100

// Row is one row of a file. Its texts are not escaped.
type Row struct{ Device, CVE string }

// Verdict is what a turn does.
type Verdict string

// The verdicts.
const (
	Upload  Verdict = "upload"  // the file is sent
	Nothing Verdict = "nothing" // NinjaOne has the same bytes
	Wait    Verdict = "wait"    // the file waits for a confirmation
	Refuse  Verdict = "refuse"  // nothing is sent; Status.Reason says why
)

// Preview reads and plans as the tenant's next turn would, and writes nothing. The
// error says why nothing can be planned.
func (w *Worker) Preview(ctx context.Context, tenantID string) (Preview, error) {
	t, err := w.open(ctx, Message{TenantID: tenantID})
	if why, ok := errors.AsType[nowhere](err); ok {
		return Preview{}, fmt.Errorf("nothing is uploaded for this tenant: %w", why)
	}
	if err != nil {
		return Preview{}, err
	}
	if t.last, err = w.Files.Of(ctx, t.ref.ID); err != nil {
		return Preview{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, t.Budget)
	defer cancel()
	p, err := t.plan(bounded)
	if err != nil {
		return Preview{}, err
	}
	show := Preview{Now: p.status, Last: t.last, Verdict: p.verdict, Rows: len(p.file.rows)}
	former, err := w.Files.unpacked(ctx, fileBlob(t.ref.ID, t.last.Shown))
	if err != nil {
		return Preview{}, err
	}
	if former == nil {
		show.NoLast = true
		former = []byte("device,cve\n")
	}
	note := func(n *int, first *[]Row) func(Row) {
		return func(r Row) {
			if *n++; len(*first) < Previewed {
				*first = append(*first, r)
			}
		}
	}
	err = p.file.compare(former, note(&show.Added, &show.FirstAdded), note(&show.Removed, &show.FirstRemoved))
	return show, err
}
