package m365

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

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
type exchange struct{ session }

func (r *Reader) newExchange(ref tenant.Ref) *exchange {
	return &exchange{session{
		service: serviceExchange,
		origin:  r.exchangeEndpoint,
		client:  r.client,
		tokens:  r.tokens,
		ref:     ref,
		scope:   r.exchangeScope,
	}}
}

// invoke runs a Get- cmdlet by POST /adminapi/beta/{tenant}/InvokeCommand, and
// gives its rows to each, page by page. The next page is the same POST to the
// next link.
func invoke[T any](ctx context.Context, x *exchange, cmdlet string, parameters map[string]any, fields []string, each func([]T)) error {
	if parameters == nil {
		parameters = map[string]any{}
	}
	body, err := json.Marshal(map[string]any{"CmdletInput": map[string]any{"CmdletName": cmdlet, "Parameters": parameters}})
	if err != nil {
		return fmt.Errorf("building a request for %s: %w", cmdlet, err)
	}
	send := func(ctx context.Context, address string) (wire.Page[T], error) {
		return fetch(ctx, &x.session, func(ctx context.Context) (*http.Request, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
			if err != nil {
				return nil, &linkError{x.service}
			}
			req.Header.Set("Content-Type", "application/json; charset=utf-8")
			req.Header.Set("Accept", "application/json")
			req.Header.Set("Prefer", "odata.maxpagesize=1000")
			req.Header.Set("X-AnchorMailbox", anchorMailbox+x.ref.ID)
			return req, nil
		}, func(r io.Reader) (wire.Page[T], error) { return wire.DecodePage[T](r, "value") })
	}
	address := x.origin.JoinPath("adminapi/beta", x.ref.ID, "InvokeCommand")
	if len(fields) > 0 {
		address.RawQuery = "$select=" + strings.Join(fields, ",")
	}
	first, err := send(ctx, address.String())
	if hasStatus(err, http.StatusBadRequest) && len(fields) > 0 {
		address.RawQuery = "" // a field that this version does not know
		first, err = send(ctx, address.String())
	}
	if err != nil {
		return err
	}
	_, err = follow(ctx, &x.session, first, each, send)
	return err
}

var unlimited = map[string]any{"ResultSize": "Unlimited"}

// mailboxes runs Get-Mailbox.
func (x *exchange) mailboxes(ctx context.Context) ([]tenant.Mailbox, error) {
	out := []tenant.Mailbox{}
	err := invoke(ctx, x, "Get-Mailbox", unlimited, []string{"ExternalDirectoryObjectId", "UserPrincipalName",
		"RecipientTypeDetails", "ForwardingAddress", "ForwardingSmtpAddress", "DeliverToMailboxAndForward",
		"LitigationHoldEnabled", "HiddenFromAddressListsEnabled", "PrimarySmtpAddress", "ArchiveStatus", "ArchiveGuid",
		"RetainDeletedItemsFor"}, func(p []wire.Mailbox) {
		for _, m := range p {
			archive := wire.GUID(string(m.ArchiveGUID))
			out = append(out, tenant.Mailbox{
				UserID:                  wire.GUID(string(m.UserID)),
				UserPrincipalName:       string(m.UserPrincipalName),
				Type:                    string(m.Type),
				ForwardingAddress:       string(m.ForwardingAddress),
				ForwardingSMTPAddress:   string(m.ForwardingSMTPAddress),
				DeliverAndForward:       m.DeliverAndForward.IsTrue(),
				LitigationHold:          m.LitigationHold.IsTrue(),
				HiddenFromAddressLists:  m.Hidden.IsTrue(),
				PrimarySMTPAddress:      string(m.PrimarySMTPAddress),
				ArchiveEnabled:          strings.EqualFold(string(m.ArchiveStatus), "Active") || archive != "" && archive != wire.ZeroGUID,
				RetainDeletedItemsForIn: string(m.RetainDeletedItemsForIn),
			})
		}
	})
	return out, err
}

// casMailboxes runs Get-CASMailbox, which has no principal name among its
// properties; rows are joined by the object id.
func (x *exchange) casMailboxes(ctx context.Context) ([]tenant.CASMailbox, error) {
	out := []tenant.CASMailbox{}
	err := invoke(ctx, x, "Get-CASMailbox", unlimited, []string{"ExternalDirectoryObjectId", "OWAEnabled", "MAPIEnabled",
		"ImapEnabled", "PopEnabled", "ActiveSyncEnabled", "EwsEnabled"}, func(p []wire.CASMailbox) {
		for _, m := range p {
			out = append(out, tenant.CASMailbox{
				UserID:            wire.GUID(string(m.UserID)),
				UserPrincipalName: string(m.UserPrincipalName),
				OWA:               m.OWA.IsTrue(),
				MAPI:              m.MAPI.IsTrue(),
				IMAP:              m.IMAP.IsTrue(),
				POP:               m.POP.IsTrue(),
				ActiveSync:        m.ActiveSync.IsTrue(),
				EWS:               !strings.EqualFold(string(m.EWS), "false"), // unset means on
			})
		}
	})
	return out, err
}

// unifiedAudit runs Get-AdminAuditLogConfig.
func (x *exchange) unifiedAudit(ctx context.Context) (bool, error) {
	var rows []wire.AuditConfig
	if err := invoke(ctx, x, "Get-AdminAuditLogConfig", nil, nil, func(p []wire.AuditConfig) { rows = append(rows, p...) }); err != nil {
		return false, err
	}
	if len(rows) == 0 || rows[0].Enabled == "" {
		return false, &bodyError{x.service, errors.New("it does not say whether auditing is on")}
	}
	return rows[0].Enabled.IsTrue(), nil
}

// blockedSenders runs Get-BlockedSenderAddress.
func (x *exchange) blockedSenders(ctx context.Context) ([]string, error) {
	out := []string{}
	err := invoke(ctx, x, "Get-BlockedSenderAddress", nil, nil, func(p []wire.BlockedSender) {
		for _, s := range p {
			if s.Address != "" {
				out = append(out, string(s.Address))
			}
		}
	})
	return out, err
}
