package vulnerabilities

// Preview is what the next upload of a tenant would do, compared with the last file.
// Nothing is written for it.
type Preview struct {
	// Now is the status as the turn would leave it: rows, devices, exceptions and
	// the reason why nothing would be sent.
	Now  Status
	Last Status // as it is
	// Verdict is what the turn would do.
	Verdict Verdict
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
