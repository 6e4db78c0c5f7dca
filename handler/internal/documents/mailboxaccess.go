package documents

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/tenant"
)

// mailboxAccess reads who has full access to which mailbox from CIPP's cache.
// Its absence never fails a run.
func (r *run) mailboxAccess(ctx context.Context) tenant.Part[compose.MailboxAccess] {
	access := compose.MailboxAccess{Full: map[string][]string{}}
	found := false
	for item, err := range r.CIPP.Reporting(ctx, r.in.Compose.Snapshot.Tenant.DefaultDomain, "MailboxPermissions") {
		if err != nil {
			r.log.WarnContext(ctx, "CIPP's cache of mailbox permissions cannot be read", "error", err)
			return tenant.Absent[compose.MailboxAccess]("CIPP's cache could not be read")
		}
		found = true
		if item.Written.After(access.AsOf) {
			access.AsOf = item.Written
		}
		var p permission
		if json.Unmarshal(item.Data, &p) == nil {
			p.addTo(access.Full, p.Identity)
		}
	}
	if !found {
		return tenant.Absent[compose.MailboxAccess]("CIPP has no mailbox permissions of this tenant in its cache")
	}
	return tenant.Present(access)
}

// permission is one object of CIPP's cache. It is a permission of Exchange
// (Get-MailboxPermission), or a mailbox with the list of its permissions.
type permission struct {
	Identity     string
	User         string
	AccessRights json.RawMessage // a list, or a text with commas between
	Deny         bool
	Permissions  []permission
}

func (p permission) addTo(full map[string][]string, mailbox string) {
	for _, inner := range p.Permissions {
		if inner.Identity == "" {
			inner.Identity = mailbox
		}
		inner.addTo(full, inner.Identity)
	}
	self := strings.HasPrefix(strings.ToUpper(p.User), `NT AUTHORITY\`)
	if mailbox = guid.Fold(mailbox); mailbox != "" && p.User != "" && !p.Deny && !self && bytes.Contains(p.AccessRights, []byte("FullAccess")) {
		full[mailbox] = append(full[mailbox], p.User)
	}
}
