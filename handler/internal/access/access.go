// Package access decides who may call the HTTP functions.
//
// The functions are open to the Functions host (authLevel anonymous), so this package
// decides. App Service authentication and the roles that it hands over let a caller in.
// On a developer's machine a token does, which the app prints at its start. Requests that
// change something or start work must also come from this app's own pages, or from no
// browser. What a request does, and every setting of the product, stays out.
package access

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"cipp-ninjaone/handler/internal/storage"
)

// Need is what a request needs from its caller.
type Need int

const (
	// Reader is for lists, tests and status: the role reader, or editor.
	Reader Need = iota
	// Editor is for everything that changes something, GET too. It needs the role editor,
	// and a request that no other site had a browser make.
	Editor
	// OwnPage is for work that changes nothing and still costs something, such as calls.
	// It needs the role reader, and a request that no other site had a browser make.
	OwnPage
)

// The values of the Entra app roles that this app defines.
const (
	RoleReader = "reader"
	RoleEditor = "editor"
)

// Config says what the platform does for the app.
type Config struct {
	// PlatformAuth: App Service authentication stands before the app, so that
	// its headers are the platform's and not a client's.
	PlatformAuth bool
	// Development: the app runs on a developer's machine with development
	// storage, where callers that carry DevToken need no login.
	Development bool
	// DevToken is that token; "" for a new one of each Guard. It counts nowhere
	// but with Development, and never beside PlatformAuth.
	DevToken string
	// Origins are the app's own origins, such as https://sync.contoso.example. The one
	// that a request names in its Host header also counts.
	Origins []string
}

// Deps are what a Guard works with.
type Deps struct {
	Config
	Log *slog.Logger
	// Ready fails when nothing may change now. Check asks it only for an Editor's request
	// that passes otherwise.
	Ready func(context.Context) error
}

// FromEnvironment reads the platform's own settings, and PUBLIC_BASE_URL and DEV_TOKEN.
// App Service sets WEBSITE_AUTH_ENABLED to True while its authentication is on. It always
// sets WEBSITE_INSTANCE_ID. WEBSITE_HOSTNAME is the host of an own origin.
func FromEnvironment(getenv func(string) string) Config {
	c := Config{
		PlatformAuth: strings.EqualFold(strings.TrimSpace(getenv("WEBSITE_AUTH_ENABLED")), "true"),
		// An app that the platform runs is not a developer's machine, whatever its
		// storage.
		Development: storage.IsDevelopment(getenv) && getenv("WEBSITE_INSTANCE_ID") == "",
		DevToken:    strings.TrimSpace(getenv("DEV_TOKEN")),
	}
	if u, err := url.Parse(strings.TrimSpace(getenv("PUBLIC_BASE_URL"))); err == nil && u.Host != "" {
		c.Origins = append(c.Origins, u.Scheme+"://"+u.Host)
	}
	if host := strings.TrimSpace(getenv("WEBSITE_HOSTNAME")); host != "" {
		c.Origins = append(c.Origins, "https://"+host)
	}
	return c
}

// Guard lets requests through or answers them. It is safe for concurrent use.
type Guard struct {
	Deps
	cross *http.CrossOriginProtection
	dev   devToken
}

// New returns a Guard. It leaves out texts that are not origins.
func New(d Deps) *Guard {
	g := &Guard{Deps: d, cross: http.NewCrossOriginProtection(), dev: newDevToken(d.DevToken)}
	for _, origin := range d.Origins {
		if err := g.cross.AddTrustedOrigin(origin); err != nil {
			g.Log.Warn("one of the app's own origins cannot be used", "error", err)
		}
	}
	return g
}

// Caller is who made a request that the Guard let through.
type Caller struct {
	// ID is the caller's object id in Entra; "" on a developer's machine, or
	// when the platform does not tell.
	ID string
	// Name is what people know the caller by, a user principal name as a rule; the
	// logbook shows it. "" only when the platform tells nothing.
	Name string
	// Editor: the caller may change things.
	Editor bool
}

// developer names whoever has the token, where nobody logs people in.
const developer = "developer"

type callerKey struct{}

// WithCaller returns the context of a request that a caller makes.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a request, from its context; the zero Caller
// elsewhere.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Refusal says why the Guard does not let a request through. It has the HTTP status (401,
// 403, or 503 when nothing may change now) and a sentence for people.
type Refusal struct {
	Status int
	Reason string
}

// The refusals. They say nothing of the app's data or of other callers.
var (
	errClosed = &Refusal{http.StatusForbidden, "This app is closed: turn on App Service authentication for it, and give yourself its app role reader or editor."}
	errToken  = &Refusal{http.StatusUnauthorized, "With development storage this app asks for its token. Open the address that it printed at its start, or send DEV_TOKEN as header X-Dev-Token."}
	errLogin  = &Refusal{http.StatusUnauthorized, "Log in with Microsoft Entra ID first."}
	errReader = &Refusal{http.StatusForbidden, "You need this app's role reader or editor, assigned to you under Enterprise applications in Microsoft Entra ID."}
	errEditor = &Refusal{http.StatusForbidden, "You need this app's role editor, assigned to you under Enterprise applications in Microsoft Entra ID."}
	errCross  = &Refusal{http.StatusForbidden, "The request came from another site, or from a link or an address that was opened directly. This is done from this app's own pages only."}
	errNewer  = &Refusal{http.StatusServiceUnavailable, "Nothing was changed: a newer version of this app has written its state. Deploy that version again."}
	errReady  = &Refusal{http.StatusServiceUnavailable, "Nothing was changed: the app cannot read its own state at the moment. Try again in a minute; its log says why."}
)

// Check decides about a request; nil lets it through.
func (g *Guard) Check(r *http.Request, need Need) (Caller, *Refusal) {
	caller, refusal := g.identify(r)
	switch {
	case refusal != nil:
		return Caller{}, refusal
	case need == Editor && !caller.Editor:
		return Caller{}, errEditor
	case need != Reader && !g.ownPage(r):
		return Caller{}, errCross
	case need == Editor:
		if err := g.Ready(r.Context()); err != nil {
			g.Log.ErrorContext(r.Context(), "nothing may be changed now", "path", r.URL.Path, "error", err)
			if errors.Is(err, storage.ErrNewer) {
				return Caller{}, errNewer
			}
			return Caller{}, errReady
		}
	}
	return caller, nil
}

// Require serves next to callers that have what need asks. It answers the others in JSON,
// {"Results": reason}, with a word by which CIPP's page knows a refusal. Browsers neither
// cache an answer, nor embed it in another site, nor guess its type.
func (g *Guard) Require(need Need, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		caller, refusal := g.Check(r, need)
		if refusal != nil {
			g.Log.WarnContext(r.Context(), "request refused", "path", r.URL.Path, "method", r.Method, "status", refusal.Status, "reason", refusal.Reason)
			h.Set("Content-Type", "application/json")
			w.WriteHeader(refusal.Status)
			_ = json.NewEncoder(w).Encode(map[string]string{"Results": "Request failed. " + refusal.Reason})
			return
		}
		next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), caller)))
	})
}

// identify finds out who makes the request, and that it is somebody at all.
func (g *Guard) identify(r *http.Request) (Caller, *Refusal) {
	switch {
	case g.PlatformAuth:
		caller, reader, ok := principalOf(r.Header)
		if !ok {
			return Caller{}, errLogin
		}
		if !reader && !caller.Editor {
			return Caller{}, errReader
		}
		return caller, nil
	case !g.Development:
		return Caller{}, errClosed
	case !g.dev.carriedBy(r):
		return Caller{}, errToken
	}
	return Caller{Name: developer, Editor: true}, nil
}
