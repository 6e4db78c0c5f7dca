package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// Known is what is known of a tenant before it is read, and is not read again.
type Known struct {
	Policies PolicyReadings // those that count
	Daily    *Daily         // where they are of the users that are read; nil for none
}

// Daily are the parts of a snapshot that change with no user, group, role or device,
// and that it is enough to read once a day. They are about the users that there were.
type Daily struct {
	Users string // stands for the users, their names, addresses and licences

	MailboxUsage   Part[[]MailboxUsage]
	OneDriveUsage  Part[[]OneDriveUsage]
	Mailboxes      Part[[]Mailbox]
	CASMailboxes   Part[[]CASMailbox]
	UnifiedAudit   Part[bool]
	BlockedSenders Part[[]string]
	SecureScore    Part[SecureScore]
}

// Daily returns the daily parts of a snapshot. It returns nil where one of them is to
// be read again soon, because something went wrong.
func (s *Snapshot) Daily() *Daily {
	d := &Daily{
		MailboxUsage: s.MailboxUsage, OneDriveUsage: s.OneDriveUsage, Mailboxes: s.Mailboxes, CASMailboxes: s.CASMailboxes,
		UnifiedAudit: s.UnifiedAudit, BlockedSenders: s.BlockedSenders, SecureScore: s.SecureScore,
	}
	_, untitled := s.Unknown[DetailTitles]
	if untitled || !s.Users.OK() || !settled(d.MailboxUsage) || !settled(d.OneDriveUsage) || !settled(d.Mailboxes) ||
		!settled(d.CASMailboxes) || !settled(d.UnifiedAudit) || !settled(d.BlockedSenders) || !settled(d.SecureScore) {
		return nil
	}
	d.Users = digestOf(s.Users.Value)
	return d
}

func settled[T any](p Part[T]) bool { return p.OK() || p.Expected }

// Of reports whether the parts are of these users, with the names, addresses and licences
// that they have. A mailbox that Exchange makes gives its user an address.
func (d *Daily) Of(users []User) bool { return d.Users == digestOf(users) }

// Give puts the parts into a snapshot.
func (d *Daily) Give(s *Snapshot) {
	s.MailboxUsage, s.OneDriveUsage, s.Mailboxes, s.CASMailboxes = d.MailboxUsage, d.OneDriveUsage, d.Mailboxes, d.CASMailboxes
	s.UnifiedAudit, s.BlockedSenders, s.SecureScore = d.UnifiedAudit, d.BlockedSenders, d.SecureScore
}

func digestOf(users []User) string {
	lines := make([]string, len(users))
	for i, u := range users {
		skus := make([]string, len(u.Licenses))
		for j, l := range u.Licenses {
			skus[j] = l.SKUID
		}
		slices.Sort(skus)
		lines[i] = u.ID + "\t" + strings.ToLower(u.UserPrincipalName) + "\t" + u.Mail + "\t" + strings.Join(skus, " ")
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:12])
}

// writtenDaily are parts as they are written. The rows of users follow, which are many.
type writtenDaily struct {
	Daily
	MailboxUsageRows, OneDriveUsageRows, MailboxRows, CASMailboxRows int
}

// Write writes the parts as JSON, row after row, so that they are never one text.
func (d *Daily) Write(w io.Writer) error {
	first := writtenDaily{*d, len(d.MailboxUsage.Value), len(d.OneDriveUsage.Value), len(d.Mailboxes.Value), len(d.CASMailboxes.Value)}
	first.MailboxUsage.Value, first.OneDriveUsage.Value, first.Mailboxes.Value, first.CASMailboxes.Value = nil, nil, nil, nil
	to := json.NewEncoder(w)
	return errors.Join(to.Encode(first), writeRows(to, d.MailboxUsage.Value), writeRows(to, d.OneDriveUsage.Value),
		writeRows(to, d.Mailboxes.Value), writeRows(to, d.CASMailboxes.Value))
}

func writeRows[T any](to *json.Encoder, rows []T) error {
	for i := range rows {
		if err := to.Encode(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// ReadDaily reads what [Daily.Write] wrote.
func ReadDaily(r io.Reader) (*Daily, error) {
	from := json.NewDecoder(r)
	var first writtenDaily
	if err := from.Decode(&first); err != nil {
		return nil, err
	}
	d := &first.Daily
	if err := errors.Join(readRows(from, first.MailboxUsageRows, &d.MailboxUsage.Value), readRows(from, first.OneDriveUsageRows, &d.OneDriveUsage.Value),
		readRows(from, first.MailboxRows, &d.Mailboxes.Value), readRows(from, first.CASMailboxRows, &d.CASMailboxes.Value)); err != nil {
		return nil, err
	}
	return d, nil
}

func readRows[T any](from *json.Decoder, n int, rows *[]T) error {
	for range n {
		var row T
		if err := from.Decode(&row); err != nil {
			return err
		}
		*rows = append(*rows, row)
	}
	return nil
}
