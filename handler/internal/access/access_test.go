package access

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/storage"
)

const (
	browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
	caller  = "bbbbbbbb-0000-4000-8000-000000000001"
	site    = "sync.contoso.example"

	devSecret = "a-token-of-these-tests"
)

var devCookie = cookieOf(newDevToken(devSecret))

// newGuard returns a guard of an app that is always ready.
func newGuard(c Config) *Guard {
	return New(Deps{c, slog.New(slog.DiscardHandler), func(context.Context) error { return nil }})
}

func cookieOf(d devToken) string { return d.cookie + "=" + d.value }

type claim struct {
	Type  string `json:"typ"`
	Value string `json:"val"`
}

// header encodes a principal as App Service does.
func header(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

func principalWith(t testing.TB, provider string, claims ...claim) string {
	return header(t, map[string]any{"auth_typ": provider, "name_typ": "name", "role_typ": claimRolesURI,
		"claims": append([]claim{{claimIDURI, caller}, {"name", "Robin Example"}}, claims...)})
}

func TestCheck(t *testing.T) {
	platform := Config{PlatformAuth: true, Origins: []string{"https://" + site}}
	closed := Config{}
	machine := Config{Development: true, DevToken: devSecret}
	reader := principalWith(t, "aad", claim{"roles", "reader"})
	editor := principalWith(t, "aad", claim{"roles", "editor"})
	with := func(pairs ...string) http.Header {
		h := http.Header{"User-Agent": {browser}}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	as := func(principal string, pairs ...string) http.Header {
		return with(append([]string{"X-MS-CLIENT-PRINCIPAL", principal}, pairs...)...)
	}
	const same, cross = "Sec-Fetch-Site", "cross-site" // the header, and its worst value
	tests := []struct {
		name   string
		config Config
		need   Need
		method string
		host   string
		header http.Header
		want   *Refusal // nil: let through
	}{
		// Who: the platform's login.
		{"nobody", platform, Reader, "GET", site, with(), errLogin},
		{"a reader reads", platform, Reader, "GET", site, as(reader), nil},
		{"an editor reads", platform, Reader, "GET", site, as(editor), nil},
		{"a reader may not change", platform, Editor, "POST", site, as(reader, same, "same-origin"), errEditor},
		{"an editor changes", platform, Editor, "POST", site, as(editor, same, "same-origin"), nil},
		{"no role", platform, Reader, "GET", site, as(principalWith(t, "aad")), errReader},
		{"another app's role", platform, Reader, "GET", site, as(principalWith(t, "aad", claim{"roles", "admin"})), errReader},
		{"a role in another case", platform, Reader, "GET", site, as(principalWith(t, "aad", claim{"roles", "Editor"})), errReader},
		{"a role that only begins right", platform, Reader, "GET", site, as(principalWith(t, "aad", claim{"roles", "editor,reader"})), errReader},
		{"the role claim as a URI", platform, Editor, "POST", site, as(principalWith(t, "aad", claim{claimRolesURI, "editor"}), same, "same-origin"), nil},
		{"several roles", platform, Editor, "POST", site, as(principalWith(t, "aad", claim{"roles", "other"}, claim{"roles", "reader"}, claim{"roles", "editor"}), same, "same-origin"), nil},
		{"the role in another claim", platform, Reader, "GET", site, as(principalWith(t, "aad", claim{"name", "editor"}, claim{"groups", "editor"})), errReader},
		{"the claim type that role_typ names", platform, Reader, "GET", site, as(header(t, map[string]any{"auth_typ": "aad", "role_typ": "nickname", "claims": []claim{{"nickname", "editor"}}})), errReader},
		{"another provider's role", platform, Reader, "GET", site, as(principalWith(t, "github", claim{"roles", "editor"})), errLogin},
		{"no provider", platform, Reader, "GET", site, as(principalWith(t, "", claim{"roles", "editor"})), errLogin},
		{"roles of Static Web Apps", platform, Reader, "GET", site, as(header(t, map[string]any{"identityProvider": "aad", "userId": "1", "userDetails": "robin@contoso.example", "userRoles": []string{"editor", "reader"}})), errLogin},
		{"roles of Static Web Apps beside claims", platform, Reader, "GET", site, as(header(t, map[string]any{"auth_typ": "aad", "userRoles": []string{"editor"}, "claims": []claim{}})), errReader},
		{"the provider of Static Web Apps beside claims", platform, Reader, "GET", site, as(header(t, map[string]any{"auth_typ": "aad", "identityProvider": "aad", "claims": []claim{{"roles", "editor"}}})), errLogin},
		{"two principals", platform, Reader, "GET", site, as(editor, "X-Ms-Client-Principal", reader), errLogin},
		{"no base64", platform, Reader, "GET", site, as("%%%"), errLogin},
		{"no JSON", platform, Reader, "GET", site, as(base64.StdEncoding.EncodeToString([]byte("editor"))), errLogin},
		{"claims that are none", platform, Reader, "GET", site, as(header(t, map[string]any{"auth_typ": "aad", "claims": "roles=editor"})), errLogin},
		{"an empty principal", platform, Reader, "GET", site, as(""), errLogin},
		{"only the other identity headers", platform, Reader, "GET", site, with("X-MS-CLIENT-PRINCIPAL-NAME", "robin@contoso.example", "X-MS-CLIENT-PRINCIPAL-IDP", "aad"), errLogin},
		{"base64 without padding", platform, Reader, "GET", site, as(strings.TrimRight(editor, "=")), nil},

		// Who: no login before the app.
		{"closed to all", closed, Reader, "GET", site, with(), errClosed},
		{"closed to a principal that a client made", closed, Reader, "GET", site, as(editor), errClosed},
		{"closed on loopback without development storage", closed, Reader, "GET", "localhost:7071", with(), errClosed},
		{"a developer by the header", machine, Editor, "POST", "localhost:7071", with(same, "same-origin", HeaderDevToken, devSecret), nil},
		{"a developer by the cookie", machine, Editor, "POST", "localhost:7071", with(same, "same-origin", "Cookie", devCookie), nil},
		{"the cookie among others", machine, Reader, "GET", "127.0.0.1:7071", with("Cookie", "a=b; "+devCookie+"; c=d"), nil},
		{"a developer through a proxy of theirs", machine, Reader, "GET", "dev.contoso.example", with(HeaderDevToken, devSecret, "X-Forwarded-For", "203.0.113.9"), nil},
		{"no token, by name", machine, Reader, "GET", "localhost:7071", with(), errToken},
		{"no token, by number", machine, Editor, "POST", "127.0.0.1:7071", with(same, "same-origin"), errToken},
		{"no token, as a proxying host tells of this machine", machine, Reader, "GET", "127.0.0.1:40001", with("X-Forwarded-For", "127.0.0.1", "X-Forwarded-Host", "localhost:7071", "X-Forwarded-Proto", "http"), errToken},
		{"no token, with a principal", machine, Reader, "GET", "localhost:7071", as(editor), errToken},
		{"an empty token", machine, Reader, "GET", "localhost:7071", with(HeaderDevToken, ""), errToken},
		{"another token", machine, Reader, "GET", "localhost:7071", with(HeaderDevToken, devSecret+"x"), errToken},
		{"the beginning of the token", machine, Reader, "GET", "localhost:7071", with(HeaderDevToken, devSecret[:8]), errToken},
		{"two tokens in one line", machine, Reader, "GET", "localhost:7071", with(HeaderDevToken, "x, "+devSecret), errToken},
		{"the token as a bearer", machine, Reader, "GET", "localhost:7071", with("Authorization", "Bearer "+devSecret), errToken},
		{"the token in the cookie", machine, Reader, "GET", "localhost:7071", with("Cookie", strings.Split(devCookie, "=")[0]+"="+devSecret), errToken},
		{"the cookie of another token", machine, Reader, "GET", "localhost:7071", with("Cookie", cookieOf(newDevToken("other"))), errToken},
		{"the cookie's value in the header", machine, Reader, "GET", "localhost:7071", with(HeaderDevToken, newDevToken(devSecret).value), errToken},
		{"the token where nobody develops", Config{DevToken: devSecret}, Reader, "GET", "localhost:7071", with(HeaderDevToken, devSecret), errClosed},
		{"the token beside a login", Config{PlatformAuth: true, Development: true, DevToken: devSecret}, Reader, "GET", site, with(HeaderDevToken, devSecret), errLogin},

		// From where, for changes.
		{"another site's form", platform, Editor, "POST", site, as(editor, same, cross, "Origin", "https://evil.example"), errCross},
		{"a neighbouring site", platform, Editor, "POST", site, as(editor, same, "same-site"), errCross},
		{"another site's form in an old browser", platform, Editor, "POST", site, as(editor, "Origin", "https://evil.example"), errCross},
		{"a sandboxed page", platform, Editor, "POST", site, as(editor, "Origin", "null"), errCross},
		{"own page in an old browser", platform, Editor, "POST", site, as(editor, "Origin", "https://"+site), nil},
		{"own page, known by its public address", platform, Editor, "POST", "internal.example", as(editor, "Origin", "https://"+site), nil},
		{"own page behind a proxy", platform, Editor, "POST", "internal.example", as(editor, "Origin", "https://cipp.contoso.example", "X-Forwarded-Host", "cipp.contoso.example"), nil},
		{"another site's page behind a proxy", platform, Editor, "POST", "internal.example", as(editor, "Origin", "https://evil.example", "X-Forwarded-Host", "cipp.contoso.example"), errCross},
		{"another site's page that a proxy cannot excuse", platform, Editor, "POST", site, as(editor, same, cross, "Origin", "https://evil.example", "X-Forwarded-Host", "evil.example"), errCross},
		{"two hosts of proxies", platform, Editor, "POST", "internal.example", as(editor, "Origin", "https://evil.example", "X-Forwarded-Host", "cipp.contoso.example", "X-Forwarded-Host", "evil.example"), errCross},
		{"another site on a developer's machine", machine, Editor, "POST", "localhost:7071", with(same, cross, "Origin", "https://evil.example", "Cookie", devCookie), errCross},
		{"another local app", machine, Editor, "POST", "localhost:7071", with("Origin", "http://localhost:9999", "Cookie", devCookie), errCross},

		// From where, for changes by GET.
		{"GET by own page", platform, Editor, "GET", site, as(editor, same, "same-origin"), nil},
		{"GET by another site's image", platform, Editor, "GET", site, as(editor, same, cross), errCross},
		{"GET by a neighbouring site", platform, Editor, "GET", site, as(editor, same, "same-site"), errCross},
		{"GET by a link in a mail", platform, Editor, "GET", site, as(editor, same, "none"), errCross},
		{"GET by another site in an old browser", platform, Editor, "GET", site, as(editor, "Origin", "https://evil.example"), errCross},
		{"GET by own page in an old browser", platform, Editor, "GET", site, as(editor, "Origin", "https://"+site), nil},
		{"GET by an old browser that tells nothing", platform, Editor, "GET", site, as(editor), errCross},
		{"GET by an old browser from own page", platform, Editor, "GET", site, as(editor, "Referer", "https://"+site+"/cipp"), nil},
		{"GET by an old browser from own page through a host that proxies", platform, Editor, "GET", "127.0.0.1:40001", as(editor, "Referer", "https://"+site+"/cipp", "X-Forwarded-Host", site), nil},
		{"GET by an old browser from elsewhere through a host that proxies", platform, Editor, "GET", "127.0.0.1:40001", as(editor, "Referer", "https://evil.example/"+site, "X-Forwarded-Host", site), errCross},
		{"GET by an old browser from elsewhere", platform, Editor, "GET", site, as(editor, "Referer", "https://evil.example/"+site), errCross},
		{"GET with a header that a page must ask for", platform, Editor, "GET", site, as(editor, "X-Requested-With", "fetch"), nil},
		{"GET with a token", platform, Editor, "GET", site, as(editor, "Authorization", "Bearer x"), nil},
		{"GET by a program", platform, Editor, "GET", site, http.Header{"X-Ms-Client-Principal": {editor}, "User-Agent": {"curl/8"}}, nil},
		{"HEAD by another site", platform, Editor, "HEAD", site, as(editor, same, cross), errCross},
		{"POST by a program", platform, Editor, "POST", site, http.Header{"X-Ms-Client-Principal": {editor}}, nil},
		{"a reader starts work", platform, OwnPage, "POST", site, as(reader, same, "same-origin"), nil},
		{"nobody starts work", platform, OwnPage, "POST", site, with(same, "same-origin"), errLogin},
		{"another site starts work", platform, OwnPage, "POST", site, as(reader, same, cross), errCross},
		{"another site starts an editor's work", platform, OwnPage, "POST", site, as(editor, "Origin", "https://evil.example"), errCross},
		{"a list may be asked for from anywhere", platform, Reader, "GET", site, as(reader, same, cross), nil},
	}
	if len(tests) < 30 {
		t.Fatalf("%d cases", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "http://"+site+"/api/ExecExtensionSync", nil)
			r.Host, r.Header = tt.host, tt.header
			got, refusal := newGuard(tt.config).Check(r, tt.need)
			if refusal != tt.want {
				t.Fatalf("got %v, want %v", refusal, tt.want)
			}
			if refusal != nil && got != (Caller{}) {
				t.Errorf("a refused request has the caller %v", got)
			}
			if refusal == nil && got.Name == "" {
				t.Error("the caller has no name")
			}
			if refusal == nil && tt.config.PlatformAuth && got.ID != caller {
				t.Errorf("the caller is %v", got)
			}
		})
	}
}

func TestFromEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want Config
	}{
		{"nothing", nil, Config{}},
		{"as App Service sets it", map[string]string{"WEBSITE_AUTH_ENABLED": "True", "WEBSITE_INSTANCE_ID": "1", "WEBSITE_HOSTNAME": site},
			Config{PlatformAuth: true, Origins: []string{"https://" + site}}},
		{"turned off", map[string]string{"WEBSITE_AUTH_ENABLED": "False"}, Config{}},
		{"something else", map[string]string{"WEBSITE_AUTH_ENABLED": "1"}, Config{}},
		{"a developer's machine", map[string]string{"AzureWebJobsStorage": "UseDevelopmentStorage=true", "DEV_TOKEN": " x "}, Config{Development: true, DevToken: "x"}},
		{"development storage on the platform", map[string]string{"NonLocalHostAzurite": "true", "WEBSITE_INSTANCE_ID": "1"}, Config{}},
		{"a public address", map[string]string{"PUBLIC_BASE_URL": "https://" + site + "/base"}, Config{Origins: []string{"https://" + site}}},
		{"no address", map[string]string{"PUBLIC_BASE_URL": "::"}, Config{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := FromEnvironment(func(name string) string { return tt.env[name] }); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestRequire asks over real HTTP.
func TestRequire(t *testing.T) {
	var logged bytes.Buffer
	guard := New(Deps{Config{PlatformAuth: true, Origins: []string{"no origin"}}, slog.New(slog.NewTextHandler(&logged, nil)), func(context.Context) error { return nil }})
	served := 0
	server := httptest.NewServer(guard.Require(Editor, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		_, _ = io.WriteString(w, CallerOf(r.Context()).ID)
	})))
	defer server.Close()
	ask := func(principal string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/ExecExtensionsConfig?code=hunter2", nil)
		if err != nil {
			t.Fatal(err)
		}
		if principal != "" {
			r.Header.Set("X-MS-CLIENT-PRINCIPAL", principal)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s is %q", name, got)
			}
		}
		return resp, string(body)
	}
	for _, tt := range []struct {
		principal string
		want      *Refusal
	}{{"", errLogin}, {principalWith(t, "aad"), errReader}, {principalWith(t, "aad", claim{"roles", "reader"}), errEditor}} {
		resp, body := ask(tt.principal)
		var answer struct{ Results string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Results != "Request failed. "+tt.want.Reason || resp.StatusCode != tt.want.Status ||
			resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %d %s %q, want %v", resp.StatusCode, resp.Header.Get("Content-Type"), body, tt.want)
		}
	}
	if served != 0 {
		t.Fatal("a refused request was served")
	}
	if resp, body := ask(principalWith(t, "aad", claim{"roles", "editor"})); resp.StatusCode != http.StatusOK || body != caller || served != 1 {
		t.Errorf("an editor got %d %q", resp.StatusCode, body)
	}
	log := logged.String()
	if strings.Count(log, "request refused") != 3 || strings.Contains(log, "hunter2") || strings.Contains(log, "Robin") {
		t.Errorf("the log is\n%s", log)
	}
	if got := CallerOf(t.Context()); got != (Caller{}) {
		t.Errorf("without a request the caller is %v", got)
	}
}

// TestReady: whether something may be changed is asked only for those who may
// change it, and its details are for the log alone.
func TestReady(t *testing.T) {
	reader, editor := principalWith(t, "aad", claim{"roles", "reader"}), principalWith(t, "aad", claim{"roles", "editor"})
	broken := errors.New("table NinjaOneSyncState: AuthorizationFailure")
	for name, tt := range map[string]struct {
		auth      bool
		principal string
		site      string
		need      Need
		ready     error
		want      *Refusal
		asked     int
	}{
		"closed":       {false, editor, "same-origin", Editor, broken, errClosed, 0},
		"nobody":       {true, "", "same-origin", Editor, broken, errLogin, 0},
		"reader":       {true, reader, "same-origin", Editor, broken, errEditor, 0},
		"another site": {true, editor, "cross-site", Editor, broken, errCross, 0},
		"reading":      {true, editor, "same-origin", Reader, broken, nil, 0},
		"work":         {true, editor, "same-origin", OwnPage, broken, nil, 0},
		"broken":       {true, editor, "same-origin", Editor, broken, errReady, 1},
		"newer":        {true, editor, "same-origin", Editor, fmt.Errorf("the app's state: %w", storage.ErrNewer), errNewer, 1},
		"ready":        {true, editor, "same-origin", Editor, nil, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			var logged bytes.Buffer
			guard := New(Deps{Config{PlatformAuth: tt.auth}, slog.New(slog.NewTextHandler(&logged, nil)), func(context.Context) error {
				asked++
				return tt.ready
			}})
			r := httptest.NewRequest(http.MethodPost, "https://"+site+"/api/ninjaone/console/pause", nil)
			r.Header.Set("Sec-Fetch-Site", tt.site)
			if tt.principal != "" {
				r.Header.Set("X-MS-CLIENT-PRINCIPAL", tt.principal)
			}
			if _, got := guard.Check(r, tt.need); got != tt.want || asked != tt.asked {
				t.Errorf("got %v after %d questions, want %v after %d", got, asked, tt.want, tt.asked)
			}
			if tt.want == errReady && !strings.Contains(logged.String(), "AuthorizationFailure") {
				t.Errorf("the log lacks the cause: %s", &logged)
			}
		})
	}
}

func FuzzPrincipal(f *testing.F) {
	f.Add(principalWith(f, "aad", claim{"roles", "editor"}))
	f.Add(header(f, map[string]any{"userRoles": []string{"editor"}}))
	f.Add("e30=")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		p, _, ok := principalOf(http.Header{"X-Ms-Client-Principal": {value}})
		if !ok && p != (Caller{}) {
			t.Errorf("an unreadable principal is %v", p)
		}
		data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(value), "="))
		var content any
		if p.Editor && (err != nil || json.Unmarshal(data, &content) != nil || !strings.Contains(fmt.Sprint(content), RoleEditor)) {
			t.Errorf("%s is an editor", data)
		}
	})
}

// TestCallerName names callers as CIPP's logbook does.
func TestCallerName(t *testing.T) {
	upn := "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"
	for want, claims := range map[string][]claim{
		"robin@contoso.example":        {{"appid", "the client"}, {upn, "robin@contoso.example"}},
		"kim@contoso.example":          {{upn, "kim_old@contoso.example"}, {"preferred_username", " kim@contoso.example "}, {"email", "k@contoso.example"}},
		"a-program":                    {{"azp", "a-program"}, {"preferred_username", " "}},
		caller:                         nil,
		strings.Repeat("x", 199) + "…": {{"upn", strings.Repeat("x", 300)}},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://"+site+"/api/ListLogs", nil)
		r.Header.Set("X-MS-CLIENT-PRINCIPAL", principalWith(t, "aad", append(claims, claim{"roles", "reader"})...))
		got, refusal := newGuard(Config{PlatformAuth: true}).Check(r, Reader)
		if refusal != nil || got.Name != want {
			t.Errorf("the caller is %q, want %q (%v)", got.Name, want, refusal)
		}
	}
}
