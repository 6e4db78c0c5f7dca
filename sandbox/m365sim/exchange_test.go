package m365sim_test

import (
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

func command(cmdlet, parameters string) string {
	return `{"CmdletInput":{"CmdletName":"` + cmdlet + `","Parameters":` + parameters + `}}`
}

func (s *sim) exchange(url, body string, headers ...string) answer {
	s.t.Helper()
	h := append([]string{"Content-Type", "application/json; charset=utf-8", "Prefer", "odata.maxpagesize=1000",
		"X-AnchorMailbox", "APP:SystemMailbox{0}@" + s.tenant.ID}, headers...)
	return s.do(http.MethodPost, url, s.token(s.tenant, m365sim.ExchangeResource), body, h...)
}

func (s *sim) invoke(cmdlet, parameters string, headers ...string) answer {
	s.t.Helper()
	return s.exchange(s.Exchange+"/adminapi/beta/"+s.tenant.ID+"/InvokeCommand", command(cmdlet, parameters), headers...)
}

func TestCmdlets(t *testing.T) {
	s := start(t, m365sim.Config{})
	for cmdlet, want := range map[string]int{
		"Get-Mailbox": len(s.tenant.Mailboxes), "Get-CASMailbox": len(s.tenant.CASMailboxes),
		"Get-AdminAuditLogConfig": 1, "Get-BlockedSenderAddress": len(s.tenant.BlockedSenders),
	} {
		if rows := s.invoke(cmdlet, "{}").rows(t); len(rows) != want {
			t.Errorf("%s: %d rows, want %d", cmdlet, len(rows), want)
		}
	}
	if rows := s.invoke("Get-Mailbox", `{"ResultSize":"Unlimited","RecipientTypeDetails":["SharedMailbox"]}`).rows(t); len(rows) != 1 {
		t.Errorf("%d shared mailboxes", len(rows))
	}
	a := s.invoke("Get-Mailbox", `{"ResultSize":3}`)
	if len(a.rows(t)) != 3 || a.json(t)["@adminapi.warnings"] == nil {
		t.Errorf("a limited result: %d rows, warnings %v", len(a.rows(t)), a.json(t)["@adminapi.warnings"])
	}
	s.noViolations()
}

func TestExchangeDefaultResultSize(t *testing.T) {
	s := start(t, m365sim.Config{})
	s.tenant.Change(func(t *m365sim.Tenant) {
		for len(t.CASMailboxes) < 1001 {
			t.CASMailboxes = append(t.CASMailboxes, m365sim.Entity{"Name": "more"})
		}
	})
	if n := len(s.invoke("Get-CASMailbox", "{}").rows(t)); n != 1000 {
		t.Errorf("%d rows without ResultSize, want 1000", n)
	}
	a := s.invoke("Get-CASMailbox", `{"ResultSize":"Unlimited"}`)
	next, _ := a.json(t)["@odata.nextLink"].(string)
	if len(a.rows(t)) != 1000 || next == "" {
		t.Fatalf("%d rows on the first page, next %q", len(a.rows(t)), next)
	}
	if n := len(s.exchange(next, command("Get-CASMailbox", `{"ResultSize":"Unlimited"}`)).rows(t)); n != 1 {
		t.Errorf("%d rows on the second page, want 1", n)
	}
	s.noViolations()
}

func TestExchangePaging(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 20})
	url := s.Exchange + "/adminapi/beta/" + s.tenant.ID + "/InvokeCommand?$select=UserPrincipalName,LitigationHoldEnabled"
	body := command("Get-Mailbox", `{"ResultSize":"Unlimited"}`)
	rows, next := 0, url
	for next != "" {
		a := s.exchange(next, body)
		rows += len(a.rows(t))
		if row := a.rows(t)[0]; len(row) != 3 { // with @odata.type
			t.Errorf("selected properties: %v", row)
		}
		next, _ = a.json(t)["@odata.nextLink"].(string)
	}
	if rows != len(s.tenant.Mailboxes) {
		t.Errorf("%d mailboxes, want %d", rows, len(s.tenant.Mailboxes))
	}
	s.noViolations()
	next = s.exchange(url, body).json(t)["@odata.nextLink"].(string)
	for name, c := range map[string]struct{ url, body string }{
		"another body": {next, command("Get-Mailbox", `{}`)},
		"another link": {strings.Replace(next, "UserPrincipalName", "Name", 1), body},
		"no body":      {next, ""},
	} {
		if a := s.exchange(c.url, c.body); a.status != http.StatusBadRequest {
			t.Errorf("the next page with %s: %d", name, a.status)
		}
		s.violated()
	}
}

func TestExchangeRefusals(t *testing.T) {
	s := start(t, m365sim.Config{})
	other := s.seed.Tenant(seed.Large).ID
	invoke := s.Exchange + "/adminapi/beta/" + s.tenant.ID + "/InvokeCommand"
	good := command("Get-Mailbox", "{}")
	for name, c := range map[string]struct {
		a         answer
		status    int
		message   string
		violation bool
	}{
		"unknown cmdlet":    {s.invoke("Get-Nothing", "{}"), 400, "'Get-Nothing' is not recognized", true},
		"unknown parameter": {s.invoke("Get-Mailbox", `{"Size":1}`), 400, "matches parameter name 'Size'", true},
		"bad result size":   {s.invoke("Get-Mailbox", `{"ResultSize":"all"}`), 400, "ResultSize", true},
		"no anchor":         {s.invoke("Get-Mailbox", "{}", "X-AnchorMailbox", ""), 400, "X-AnchorMailbox", true},
		"foreign anchor":    {s.invoke("Get-Mailbox", "{}", "X-AnchorMailbox", "APP:x@"+other), 400, "X-AnchorMailbox", true},
		"content type":      {s.invoke("Get-Mailbox", "{}", "Content-Type", "text/plain"), 400, "Content-Type", true},
		"unknown member":    {s.exchange(invoke, `{"Cmdlet":"Get-Mailbox"}`), 400, "unknown field", true},
		"unknown selection": {s.exchange(invoke+"?$select=Nothing", good), 400, "'Nothing'", true},
		"unknown option":    {s.exchange(invoke+"?$top=1", good), 400, "$top", true},
		"entity set":        {s.exchange(s.Exchange+"/adminapi/beta/"+s.tenant.ID+"/CasMailbox", good), 404, "not found", true},
		"another tenant":    {s.exchange(s.Exchange+"/adminapi/beta/"+other+"/InvokeCommand", good), 403, "another tenant", true},
		"GET":               {s.do("GET", invoke, s.token(s.tenant, m365sim.ExchangeResource), ""), 405, "POST", true},
	} {
		var body struct {
			Error struct {
				Details    []struct{ Message string }
				InnerError struct{ InternalException struct{ Message string } }
			}
		}
		decode(t, c.a.body, &body)
		if c.a.status != c.status || !strings.Contains(body.Error.InnerError.InternalException.Message, c.message) || len(body.Error.Details) != 1 {
			t.Errorf("%s: %d %s", name, c.a.status, c.a.body)
		}
	}
	if n := len(s.Violations()); n != 12 {
		t.Errorf("%d violations, want 12: %q", n, s.Violations())
	}
	s.ResetViolations()
	graph := s.token(s.tenant, m365sim.GraphResource)
	if a := s.do(http.MethodPost, invoke, graph, good); a.status != http.StatusUnauthorized {
		t.Errorf("with a token of Graph: %d", a.status)
	}
	s.violated()
	s.tenant.Change(func(t *m365sim.Tenant) { t.NoExchangeRole = true })
	if a := s.invoke("Get-Mailbox", "{}"); a.status != http.StatusForbidden {
		t.Errorf("without a role: %d", a.status)
	}
	s.noViolations()
}
