package documents

import (
	"context"
	"encoding/json"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
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

// permission is one object of CIPP's cache: a permission of Exchange
// (Get-MailboxPermission), or a mailbox with the list of its permissions.
type permission struct {
	Identity     string
	User         string
	AccessRights rights
	Deny         bool
	Permissions  []permission
}

// rights are a list, or a text with commas between.
type rights string

// UnmarshalJSON never fails.
func (a *rights) UnmarshalJSON(data []byte) error {
	var list []string
	var text string
	if json.Unmarshal(data, &list) == nil {
		text = strings.Join(list, ",")
	} else {
		_ = json.Unmarshal(data, &text)
	}
	*a = rights(text)
	return nil
}

func (p permission) addTo(full map[string][]string, mailbox string) {
	for _, inner := range p.Permissions {
		if inner.Identity == "" {
			inner.Identity = mailbox
		}
		inner.addTo(full, inner.Identity)
	}
	self := strings.HasPrefix(strings.ToUpper(p.User), `NT AUTHORITY\`)
	if mailbox = fold(mailbox); mailbox != "" && p.User != "" && !p.Deny && !self && strings.Contains(string(p.AccessRights), "FullAccess") {
		full[mailbox] = append(full[mailbox], p.User)
	}
}
