package m365sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// cmdlet is one cmdlet of the Exchange admin API.
type cmdlet struct {
	rows       func(t *Tenant) []Entity
	properties string // what ?$select= may name
	sized      bool   // takes ResultSize, 1,000 by default
}

var cmdlets = map[string]cmdlet{
	"Get-Mailbox": {sized: true, rows: func(t *Tenant) []Entity { return t.Mailboxes },
		properties: mailboxProperties},
	"Get-CASMailbox": {sized: true, rows: func(t *Tenant) []Entity { return t.CASMailboxes },
		properties: casMailboxProperties},
	"Get-AdminAuditLogConfig": {rows: func(t *Tenant) []Entity {
		if t.AuditLogConfig == nil {
			return nil
		}
		return []Entity{t.AuditLogConfig}
	}, properties: "Identity Name UnifiedAuditLogIngestionEnabled AdminAuditLogEnabled AdminAuditLogAgeLimit"},
	"Get-BlockedSenderAddress": {rows: func(t *Tenant) []Entity { return t.BlockedSenders },
		properties: "SenderAddress Reason CreatedDatetime ChangedDatetime"},
}

// The properties of mailbox rows that the simulator knows, separated by spaces.
const (
	mailboxProperties = "Identity Id Guid Name Alias DisplayName UserPrincipalName PrimarySmtpAddress EmailAddresses " +
		"ExternalDirectoryObjectId RecipientType RecipientTypeDetails ForwardingAddress ForwardingSmtpAddress " +
		"DeliverToMailboxAndForward LitigationHoldEnabled HiddenFromAddressListsEnabled ArchiveStatus ArchiveGuid ArchiveName " +
		"RetainDeletedItemsFor RetentionPolicy ProhibitSendQuota ProhibitSendReceiveQuota IssueWarningQuota " +
		"MessageCopyForSentAsEnabled GrantSendOnBehalfTo WhenCreatedUTC WhenSoftDeleted AccountDisabled IsDirSynced"
	casMailboxProperties = "Identity Id Guid Name DisplayName PrimarySmtpAddress EmailAddresses ExternalDirectoryObjectId " +
		"OWAEnabled MAPIEnabled ImapEnabled PopEnabled ActiveSyncEnabled EwsEnabled ECPEnabled OWAforDevicesEnabled " +
		"SmtpClientAuthenticationDisabled UniversalOutlookEnabled"
)

const (
	exchangePageSize   = 100  // without a Prefer header
	exchangeMaxPage    = 1000 // largest page
	exchangeResultSize = 1000 // rows without ResultSize
)

// exchangePage is what the $skiptoken of a next link stands for.
type exchangePage struct {
	tenant string
	body   string // the body that must be posted again
	selct  string
	rows   []Entity
}

// ExchangeHandler serves POST /adminapi/beta/{tenant}/InvokeCommand.
func (s *Server) ExchangeHandler() http.Handler {
	return s.door("exchange", s.answerExchange)
}

func (s *Server) answerExchange(r *http.Request) *answer {
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	t, refusal := s.authorize(r, ExchangeResource)
	known := len(segments) == 4 && segments[0] == "adminapi" && segments[1] == "beta" && segments[3] == "InvokeCommand"
	template := "(unknown)"
	if known {
		template = "/adminapi/beta/{tenant}/InvokeCommand"
	}
	s.count(r, template)
	return s.trouble(r, "exchange", t, func(r *http.Request) *answer {
		switch {
		case refusal != nil:
			if refusal.violation != "" {
				s.violate(r, refusal.violation)
			}
			return &answer{status: refusal.status, header: refusal.header} // Exchange answers 401 without a body
		case !known:
			return s.exchangeError(r, http.StatusNotFound, "Resource not found for the segment.", true)
		case r.Method != http.MethodPost:
			return s.exchangeError(r, http.StatusMethodNotAllowed, "Only POST is allowed.", true)
		case s.tenantByName(strings.ToLower(segments[2])) != t:
			return s.exchangeError(r, http.StatusForbidden, "The token is for another tenant.", true)
		}
		return s.invoke(r, t)
	})
}

// exchangeError answers with the error object of the Exchange admin API.
func (s *Server) exchangeError(r *http.Request, status int, message string, violation bool) *answer {
	if violation {
		s.violate(r, message)
	}
	code := map[int]string{http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound"}[status]
	if code == "" {
		code = "BadRequest"
	}
	return jsonAnswer(status, map[string]any{"error": map[string]any{
		"code": code, "message": "Error executing cmdlet.",
		"details": []map[string]string{{"code": "Context", "target": "", "message": "||" + message}},
		"innererror": map[string]any{
			"message": "Error executing cmdlet.", "type": "Microsoft.Exchange.Admin.OData.Core.ODataServiceException",
			"internalexception": map[string]string{"message": message, "type": "Exception", "stacktrace": ""},
		},
	}})
}

func (s *Server) invoke(r *http.Request, t *Tenant) *answer {
	refuse := func(format string, args ...any) *answer {
		return s.exchangeError(r, http.StatusBadRequest, fmt.Sprintf(format, args...), true)
	}
	var in struct {
		CmdletInput struct {
			CmdletName string
			Parameters map[string]any
		}
	}
	if _, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); !strings.EqualFold(parameters["charset"], "utf-8") {
		return refuse("The Content-Type must be application/json; charset=utf-8.")
	}
	if refusal := readJSON(r, &in); refusal != nil {
		return refuse("%s", refusal.message)
	}
	_, domain, _ := strings.Cut(r.Header.Get("X-AnchorMailbox"), "@")
	if domain == "" || s.tenantByName(strings.ToLower(domain)) != t {
		return refuse("The header X-AnchorMailbox must name a mailbox of the tenant.")
	}
	size := exchangePageSize
	if prefer := r.Header.Get("Prefer"); prefer != "" {
		n, ok := maxPageSize(prefer)
		if !ok {
			return refuse("The header Prefer is not understood.")
		}
		size = min(n, exchangeMaxPage)
	}
	if s.config.PageSize > 0 {
		size = min(size, s.config.PageSize)
	}
	var granted, role bool
	t.View(func(t *Tenant) { granted, role = t.granted([]string{"Exchange.Manage"}), !t.NoExchangeRole })
	if !granted || !role {
		return s.exchangeError(r, http.StatusForbidden, "The role assigned to the account is not supported in this scenario.", false)
	}
	name := in.CmdletInput.CmdletName
	c, ok := cmdlets[name]
	if !ok {
		return refuse("The term '%s' is not recognized as the name of a cmdlet.", name)
	}
	for p := range in.CmdletInput.Parameters {
		if p != "ResultSize" || !c.sized {
			return refuse("A parameter cannot be found that matches parameter name '%s'.", p)
		}
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse("The query string is malformed.")
	}
	for k, v := range values {
		if k != "$select" && k != "$skiptoken" || len(v) != 1 {
			return refuse("The query parameter '%s' is not supported.", k)
		}
	}
	if v := values.Get("$select"); v != "" {
		for _, p := range strings.Split(v, ",") {
			if !slices.Contains(strings.Fields(c.properties), p) {
				return refuse("The property '%s' is not there to be selected.", p)
			}
		}
	}
	canonical, _ := json.Marshal(in)
	page := exchangePage{tenant: t.ID, body: string(canonical), selct: values.Get("$select")}
	var warnings []string
	if token := values.Get("$skiptoken"); token != "" {
		p := s.exchangeChains.find(token)
		if p == nil || p.tenant != page.tenant || p.body != page.body || p.selct != page.selct {
			return refuse("The next page must be asked for with the same body and link.")
		}
		page.rows = p.rows
	} else {
		var message string
		if page.rows, warnings, message = c.run(t, in.CmdletInput.Parameters); message != "" {
			return refuse("%s", message)
		}
	}
	return s.answerCmdlet(r, page, size, warnings)
}

// run returns the rows of a cmdlet, or why its parameters are not good.
func (c cmdlet) run(t *Tenant, parameters map[string]any) (rows []Entity, warnings []string, refusal string) {
	limit := -1
	if c.sized {
		limit = exchangeResultSize
	}
	if size, given := parameters["ResultSize"]; given {
		if size != "Unlimited" {
			return nil, nil, "Cannot process argument transformation on parameter 'ResultSize'."
		}
		limit = -1
	}
	t.View(func(t *Tenant) {
		for _, e := range c.rows(t) {
			if limit >= 0 && len(rows) == limit {
				warnings = []string{"There are more results available than are currently displayed. To view them, increase the value for the ResultSize parameter."}
				return
			}
			rows = append(rows, maps.Clone(e))
		}
	})
	return rows, warnings, ""
}

func (s *Server) answerCmdlet(r *http.Request, p exchangePage, size int, warnings []string) *answer {
	body := map[string]any{
		"@odata.context": "http://" + r.Host + strings.TrimSuffix(r.URL.Path, "InvokeCommand") + "$metadata#Collection(Exchange.GenericHashTable)",
	}
	if warnings != nil {
		body["@adminapi.warnings"] = warnings
	}
	out := []Entity{}
	for _, e := range p.rows[:min(size, len(p.rows))] {
		row := Entity{"@odata.type": "#Exchange.GenericHashTable"}
		for k, v := range e {
			if p.selct == "" || slices.Contains(strings.Split(p.selct, ","), k) {
				row[k] = v
			}
		}
		out = append(out, row)
	}
	body["value"] = out
	if len(p.rows) > size {
		next := p
		next.rows = p.rows[size:]
		token := s.exchangeChains.give(next)
		q := url.Values{"$skiptoken": {token}}
		if p.selct != "" {
			q.Set("$select", p.selct)
		}
		body["@odata.nextLink"] = "http://" + r.Host + r.URL.Path + "?" + encodeQuery(q)
	}
	return jsonAnswer(http.StatusOK, body)
}

// maxPageSize reads "odata.maxpagesize=N" from a Prefer header.
func maxPageSize(prefer string) (int, bool) {
	value, ok := strings.CutPrefix(prefer, "odata.maxpagesize=")
	n, err := strconv.Atoi(value)
	return n, ok && err == nil && n > 0
}
