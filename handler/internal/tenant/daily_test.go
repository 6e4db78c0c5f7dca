package tenant

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// TestDailyPartsAreNeverOneText writes and reads the parts of many users: that takes no
// memory for their text, and all of it comes back. What is cut short is not read.
func TestDailyPartsAreNeverOneText(t *testing.T) {
	d := &Daily{Users: "digest", UnifiedAudit: Present(true), BlockedSenders: Part[[]string]{Unknown: Unknown{Reason: "hidden", Expected: true}}}
	read := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	for i := range 5000 {
		name, id := fmt.Sprintf("user%d@ostholm.example", i), fmt.Sprintf("4a1d7c52-93b8-4f0e-8a66-%012d", i)
		d.MailboxUsage.Value = append(d.MailboxUsage.Value, MailboxUsage{UserPrincipalName: name, Used: int64(i), RefreshDate: read})
		d.OneDriveUsage.Value = append(d.OneDriveUsage.Value, OneDriveUsage{OwnerPrincipalName: name, Files: int64(i)})
		d.Mailboxes.Value = append(d.Mailboxes.Value, Mailbox{UserID: id, PrimarySMTPAddress: name})
		d.CASMailboxes.Value = append(d.CASMailboxes.Value, CASMailbox{UserID: id, OWA: i%2 == 0})
	}
	var text bytes.Buffer
	if err := d.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 10, text.Len() / 2, text.Len() - 2} {
		if got, err := ReadDaily(bytes.NewReader(text.Bytes()[:cut])); err == nil {
			t.Errorf("of %d bytes it read %v", cut, got)
		}
	}
	got, err := ReadDaily(bytes.NewReader(text.Bytes()))
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("it read something else: %v", err)
	}
	var most largest
	if err := d.Write(&most); err != nil || most > 1<<16 {
		t.Errorf("of %d bytes, %d were written at once (%v)", text.Len(), most, err)
	}
}

// largest is the most bytes that were written to it at once.
type largest int

func (l *largest) Write(b []byte) (int, error) {
	*l = max(*l, largest(len(b)))
	return len(b), nil
}
