package m365

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	serviceExchange = "Exchange Online"
	// anchorMailbox routes a request to the tenant's servers: a system mailbox
	// that every tenant has.
	anchorMailbox = "APP:SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}@"
)

// exchange is the Exchange Online admin API as seen from one tenant.
type exchange struct{ *session }

func (r *Reader) newExchange(ref tenant.Ref) *exchange {
	return &exchange{&session{service: r.exchange, client: r.client, tokens: r.tokens, ref: ref}}
}

// invoke runs a Get- cmdlet by POST /adminapi/beta/{tenant}/InvokeCommand, and
// gathers its rows. The next page is the same POST to the next link.
func invoke[T, R any](ctx context.Context, x *exchange, cmdlet string, parameters map[string]any, fields []string, record func(*T) (id string, r R)) ([]R, error) {
	if parameters == nil {
		parameters = map[string]any{}
	}
	body := map[string]any{"CmdletInput": map[string]any{"CmdletName": cmdlet, "Parameters": parameters}}
	send := func(ctx context.Context, address string) (wire.Page[T], error) {
		return fetch(ctx, x.session, func(ctx context.Context) (*http.Request, error) {
			req, err := x.call(ctx, http.MethodPost, address, body)
			if err != nil {
				return nil, err
			}
			req.Header.Set("Content-Type", "application/json; charset=utf-8")
			req.Header.Set("Prefer", "odata.maxpagesize=1000")
			req.Header.Set("X-AnchorMailbox", anchorMailbox+x.ref.ID)
			return req, nil
		}, decodePage[T])
	}
	address := x.origin.JoinPath("adminapi/beta", x.ref.ID, "InvokeCommand").String()
	reading := func(address string) form[[]R] {
		return form[[]R]{nil, func(ctx context.Context) (out []R, err error) {
			first := func(ctx context.Context) (wire.Page[T], error) { return send(ctx, address) }
			_, err = read(ctx, x.session, source[T]{first, send}, rows(&out, record), nil)
			return out, err
		}}
	}
	forms := []form[[]R]{reading(address)}
	if len(fields) > 0 { // one of them may be a field that this version does not know
		forms = []form[[]R]{reading(address + "?$select=" + strings.Join(fields, ",")), forms[0]}
	}
	out, _, err := firstOf(ctx, forms...)
	return out, err
}

var unlimited = map[string]any{"ResultSize": "Unlimited"}

// mailboxes runs Get-Mailbox.
func (x *exchange) mailboxes(ctx context.Context) ([]tenant.Mailbox, error) {
	return invoke(ctx, x, "Get-Mailbox", unlimited, []string{"ExternalDirectoryObjectId", "UserPrincipalName",
		"RecipientTypeDetails", "ForwardingAddress", "ForwardingSmtpAddress", "DeliverToMailboxAndForward",
		"LitigationHoldEnabled", "HiddenFromAddressListsEnabled", "PrimarySmtpAddress", "ArchiveStatus", "ArchiveGuid"}, func(m *wire.Mailbox) (string, tenant.Mailbox) {
		archive := guid.Fold(string(m.ArchiveGUID))
		box := tenant.Mailbox{
			UserID:                 guid.Fold(string(m.UserID)),
			UserPrincipalName:      string(m.UserPrincipalName),
			Type:                   string(m.Type),
			ForwardingAddress:      string(m.ForwardingAddress),
			ForwardingSMTPAddress:  string(m.ForwardingSMTPAddress),
			DeliverAndForward:      m.DeliverAndForward.IsTrue(),
			LitigationHold:         m.LitigationHold.IsTrue(),
			HiddenFromAddressLists: m.Hidden.IsTrue(),
			PrimarySMTPAddress:     string(m.PrimarySMTPAddress),
			ArchiveEnabled:         strings.EqualFold(string(m.ArchiveStatus), "Active") || archive != "" && archive != wire.ZeroGUID,
		}
		return cmp.Or(box.UserID, box.PrimarySMTPAddress, box.UserPrincipalName), box
	})
}

// casMailboxes runs Get-CASMailbox, which has no principal name among its
// properties; rows are joined by the object id.
func (x *exchange) casMailboxes(ctx context.Context) ([]tenant.CASMailbox, error) {
	return invoke(ctx, x, "Get-CASMailbox", unlimited, []string{"ExternalDirectoryObjectId", "OWAEnabled", "MAPIEnabled",
		"ImapEnabled", "PopEnabled", "ActiveSyncEnabled", "EwsEnabled"}, func(m *wire.CASMailbox) (string, tenant.CASMailbox) {
		box := tenant.CASMailbox{
			UserID:            guid.Fold(string(m.UserID)),
			UserPrincipalName: string(m.UserPrincipalName),
			OWA:               m.OWA.IsTrue(),
			MAPI:              m.MAPI.IsTrue(),
			IMAP:              m.IMAP.IsTrue(),
			POP:               m.POP.IsTrue(),
			ActiveSync:        m.ActiveSync.IsTrue(),
			EWS:               !strings.EqualFold(string(m.EWS), "false"), // unset means on
		}
		return cmp.Or(box.UserID, box.UserPrincipalName), box
	})
}

// unifiedAudit runs Get-AdminAuditLogConfig.
func (x *exchange) unifiedAudit(ctx context.Context) (bool, error) {
	out, err := invoke(ctx, x, "Get-AdminAuditLogConfig", nil, nil, func(c *wire.AuditConfig) (string, wire.AuditConfig) { return "", *c })
	if err != nil {
		return false, err
	}
	if len(out) == 0 || out[0].Enabled == "" {
		return false, &bodyError{x.name, errors.New("it does not say whether auditing is on")}
	}
	return out[0].Enabled.IsTrue(), nil
}

// blockedSenders runs Get-BlockedSenderAddress.
func (x *exchange) blockedSenders(ctx context.Context) ([]string, error) {
	out, err := invoke(ctx, x, "Get-BlockedSenderAddress", nil, nil, func(s *wire.BlockedSender) (string, string) {
		return string(s.Address), string(s.Address)
	})
	return slices.DeleteFunc(out, func(s string) bool { return s == "" }), err
}
