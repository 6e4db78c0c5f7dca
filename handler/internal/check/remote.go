package check

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/endpoint"
	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/vulnerabilities"
	"cipp-ninjaone/handler/internal/words"
)

// loginClock is the time by Microsoft's sign-in service.
func (p *part) loginClock(ctx context.Context) (time.Time, error) {
	// https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.d.Settings.LoginEndpoint.JoinPath("common/v2.0/.well-known/openid-configuration").String(), nil)
	if err != nil {
		return time.Time{}, err
	}
	res, err := p.client.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	discard(res)
	return http.ParseTime(res.Header.Get("Date"))
}

func discard(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	_ = res.Body.Close()
}

// engine looks at whether CIPP's own engine is held off.
func (p *part) engine(ctx context.Context) {
	if p.unreadable() {
		return
	}
	s, err := p.d.Engine.Standing(ctx)
	if err != nil {
		p.failed(ctx, err, "It is not known whether CIPP's own sync writes to NinjaOne beside this app.", "Look at the sections on storage.")
		return
	}
	p.Checked = "the schedule of CIPP's own NinjaOne sync, and its Graph subscriptions"
	const wait = "Wait for the next quarter of an hour, when this app holds it off. If it stays so, check that the function ScheduleTenants runs, or run \"handler hold-off\"."
	switch {
	case s.Given:
		p.notice("CIPP's own NinjaOne sync was given back.", "This app syncs nothing by itself.", "To take over again, run \"handler hold-off\".")
	case !p.world.config.Configured:
		return
	case !s.Held:
		p.problem("CIPP's own NinjaOne sync is not held off.", "Two engines write to NinjaOne by different rules.", wait)
	}
	if !s.Given && p.world.config.Enabled && s.Subscriptions > 0 {
		p.problem(fmt.Sprintf("CIPP has %d Graph subscriptions on devices of its own.", s.Subscriptions), "CIPP goes on writing the compliance field by another rule.", wait)
	}
}

// ninjaOne makes few calls: organizations (one per thousand), custom fields,
// and document templates where documents are switched on.
func (p *part) ninjaOne(ctx context.Context) {
	if p.unreadable() {
		return
	}
	c := p.world.config
	switch {
	case !c.Configured:
		p.problem("NinjaOne was never set up in CIPP.", "Nothing is synced.", "Enter the settings in CIPP under Integrations, NinjaOne, or on this app's console.")
		return
	case !c.Enabled:
		p.problem("The NinjaOne integration is turned off in CIPP.", "Nothing is synced.", "Turn it on in CIPP under Integrations, NinjaOne, or on this app's console.")
	}
	client, err := p.d.NinjaOne(c)
	if err != nil {
		p.problem(words.Sentence(err.Error()), "NinjaOne cannot be called.", "Correct instance and client ID in CIPP under Integrations, NinjaOne.")
		return
	}
	organizations, err := client.Organizations(ctx)
	if err != nil {
		p.unreachable(ctx, client, err)
		return
	}
	p.Checked = fmt.Sprintf("instance, credentials, scopes, %d organizations", len(organizations))
	exists := map[int]bool{}
	for _, o := range organizations {
		exists[o.ID] = true
	}
	for _, m := range p.world.mappings.Organizations {
		switch {
		case m.Problem != "":
			p.problem(words.Sentence("A tenant mapping cannot be used: "+m.Problem), "The tenant is not synced.", "Map it again.", names(p.world.name(m.TenantID))...)
		case !exists[m.OrganizationID]:
			p.problem("The NinjaOne organization that the tenant is mapped to does not exist.", "The tenant's syncs fail.",
				"Map the tenant to another organization, or remove the mapping.", names(p.world.name(m.TenantID))...)
		}
	}
	p.fields(ctx, client)
	if c.UserDocuments || c.LicenseDocuments {
		p.documentation(ctx, client)
	}
	if c.CVESync {
		p.scanGroups(ctx, client)
	}
	p.Checked += ". NinjaOne's API does not tell its version; 5.6 or later is needed"
}

func names(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// unreachable says why NinjaOne did not answer as it should.
func (p *part) unreachable(ctx context.Context, client *ninjaone.Client, err error) {
	meaning := "Nothing is synced to NinjaOne."
	if errors.Is(err, ninjaone.ErrThrottled) {
		meaning = "Syncs are slow. Their pace follows by itself."
	}
	if what, action := client.Explain(err); what != "" {
		p.problem(words.Sentence(what), meaning, words.Sentence(action))
		return
	}
	p.failed(ctx, err, meaning, "Check the instance in CIPP, the secret, and the app's network.")
}

// fields compares the field mapping with NinjaOne's definitions.
func (p *part) fields(ctx context.Context, client *ninjaone.Client) {
	mapping := p.world.mappings.Fields
	if len(mapping) == 0 {
		p.problem("No field is mapped.", "Nothing can be shown in NinjaOne.", "Map the fields in CIPP under Integrations, NinjaOne, Field Mapping, or on this app's console.")
		return
	}
	definitions, err := client.CustomFields(ctx)
	if err != nil {
		p.unreachable(ctx, client, err)
		return
	}
	for _, f := range tenantsync.FieldProblems(mapping, definitions) {
		p.problem(f.Message, "The other fields are written.", "")
	}
	p.Checked += fmt.Sprintf(", %d mapped custom fields", len(mapping))
}

func (p *part) documentation(ctx context.Context, client *ninjaone.Client) {
	_, err := client.Templates(ctx)
	switch {
	case errors.Is(err, ninjaone.ErrNoDocumentation):
		p.problem("NinjaOne Documentation is not enabled, or the API application may not use it.", "User and licence documents are not written; fields are.",
			"Enable NinjaOne Documentation (Administration, Apps), or turn the documents off in CIPP's NinjaOne settings.")
	case err != nil:
		p.failed(ctx, err, "User and licence documents may not be written.", "Run the check again.")
	default:
		p.Checked += ", NinjaOne Documentation"
	}
}

// scanGroups looks for the scan group of each mapped tenant.
func (p *part) scanGroups(ctx context.Context, client *ninjaone.Client) {
	groups, err := client.ScanGroups(ctx)
	if err != nil {
		p.failed(ctx, err, "No vulnerabilities may be uploaded.", "Run the check again.")
		return
	}
	for _, t := range p.world.mapped {
		if _, bad := vulnerabilities.GroupOf(groups, p.world.config.CVESyncPrefix+t.DefaultDomain); bad != nil {
			p.problem("NinjaOne has no scan group that the tenant's vulnerabilities can go to.", "Its vulnerabilities are not uploaded.",
				fmt.Sprintf("Look in NinjaOne under Administration, Apps, Vulnerability Importer. One scan group must be named %q followed by the tenant's default domain. It needs a column of devices and one of CVE ids.", p.world.config.CVESyncPrefix), t.DefaultDomain)
		}
	}
	p.Checked += fmt.Sprintf(", %d scan groups", len(groups))
}

// answerTime is how fast Graph wants the notification address to answer.
const answerTime = 3 * time.Second

// address shakes hands with the app's own public address as Graph does before
// it makes a subscription.
// https://learn.microsoft.com/graph/change-notifications-delivery-webhooks#notificationurl-validation
func (p *part) address(ctx context.Context) {
	base := p.d.Settings.PublicBaseURL
	const meaning = "Graph cannot announce compliance changes: they are found by the sweep only, up to a quarter of an hour late."
	switch {
	case base == "":
		p.notice("The app's public address is not known here.", "This process was not started by the platform, and PUBLIC_BASE_URL is not set. Without an address in the app itself, Graph cannot announce compliance changes.",
			"Set PUBLIC_BASE_URL where you run this check, to have it looked at.")
		return
	case endpoint.Local(base) && !endpoint.Loopback(p.d.Settings.GraphEndpoint.Hostname()):
		p.problem("The app's public address is of this machine only.", meaning, "Set PUBLIC_BASE_URL to an https address that the internet reaches.")
		return
	case strings.HasPrefix(base, "http://") && !endpoint.Local(base):
		p.problem("The app's public address is not https.", meaning, "Set PUBLIC_BASE_URL to an https address.")
		return
	}
	p.Checked = "one handshake, as Microsoft Graph makes it"
	took, err := p.handshake(ctx, base)
	if err == nil && took > answerTime {
		var again time.Duration
		if again, err = p.handshake(ctx, base); err == nil {
			action := "Look at the app's load and plan."
			if again <= answerTime {
				action = "It answered fast the second time, so that it had to start first: keep one instance always ready for HTTP."
			}
			p.problem("The notification address answered later than the three seconds that Graph allows.", "Graph gives up making subscriptions, and drops notifications of an address that stays slow.", action)
			return
		}
	}
	if err != nil {
		p.failed(ctx, err, meaning, "Open "+notify.Path+" to the internet. It needs no login (App Service authentication leaves the path out), no IP restriction, and a valid certificate. Check PUBLIC_BASE_URL.")
		return
	}
	if !endpoint.Local(base) {
		p.console(ctx, base)
	}
}

// console looks at what a stranger gets who opens the console: a login.
func (p *part) console(ctx context.Context, base string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/ninjaone/console/", nil)
	if err != nil {
		return
	}
	res, err := p.client.Do(req)
	if err != nil {
		return // what answered the handshake does not answer here: not for this to say
	}
	discard(res)
	if res.StatusCode == http.StatusForbidden {
		p.problem("App Service authentication is off, as its public address shows.", "The console and the routes for CIPP's pages are closed to everyone. Syncs and notifications do not need it.",
			"To use the console, turn App Service authentication on: step 4 of the guide (deploy/README.md).")
		return
	}
	page, err := res.Location()
	if login := p.d.Settings.LoginEndpoint; err == nil && page.Scheme == login.Scheme && page.Host == login.Host {
		p.login(ctx, page)
	}
}

// login asks for the page that people log in on, without a person. Like the platform it
// signs in as the login's app registration. Only these codes of Microsoft's are findings:
// it tells most only to people.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func (p *part) login(ctx context.Context, page *url.URL) {
	const meaning = "Nobody can log in to the console. Syncs and notifications do not need it."
	query := page.Query()
	query.Set("prompt", "none")
	asked := *page
	asked.RawQuery = query.Encode()
	switch said := p.ask(ctx, http.MethodGet, asked.String(), nil); {
	case strings.Contains(said, "AADSTS50011"):
		p.problem("Microsoft refuses where the login is to come back to (AADSTS50011).", meaning, "Give the app registration this redirect URI: "+query.Get("redirect_uri"))
		return
	case strings.Contains(said, "AADSTS700016"):
		p.problem("Microsoft does not know the login's app registration (AADSTS700016).", meaning, "Correct authClientId, and run step 4 of the guide (deploy/README.md) again.")
		return
	case p.d.Assertion == nil:
		return
	}
	assertion, err := p.d.Assertion(ctx)
	if err != nil {
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(page.Path, "/"), "/")
	// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
	said := p.ask(ctx, http.MethodPost, p.d.Settings.LoginEndpoint.JoinPath(url.PathEscape(tenant), "oauth2/v2.0/token").String(), url.Values{
		"grant_type": {"client_credentials"}, "client_id": {query.Get("client_id")}, "scope": {query.Get("client_id") + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	})
	for _, code := range []string{"AADSTS700211", "AADSTS700213", "AADSTS70021"} {
		if strings.Contains(said, code) {
			p.problem("The login's app registration does not trust the app's identity ("+code+").", meaning,
				"Run step 5 of the guide (deploy/README.md) again, with the identity of this deployment.")
			return
		}
	}
}

// ask returns the beginning of an answer, "" when there is none.
func (p *part) ask(ctx context.Context, method, address string, form url.Values) string {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return ""
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := p.client.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 256<<10)) // half an answer may tell, too
	return string(body)
}

func (p *part) handshake(ctx context.Context, base string) (time.Duration, error) {
	token := "check " + rand.Text() + " &+%"
	address := base + notify.Path + "?" + url.Values{"validationToken": {token}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return 0, errors.New("the app's public address cannot be called")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	start := time.Now()
	res, err := p.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("the app's public address does not answer: %w", netfault.Explain(err))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	discard(res)
	took := time.Since(start)
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return 0, errors.New("the app's public address broke its answer off")
	case slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden}, res.StatusCode), res.StatusCode >= 300 && res.StatusCode < 400:
		return 0, fmt.Errorf("the app's public address answers %d: it wants a login, or is closed to strangers", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("the app's public address answers %d", res.StatusCode)
	case media != "text/plain" || string(body) != token:
		return 0, errors.New("something else than this app answers at its public address")
	}
	return took, nil
}
