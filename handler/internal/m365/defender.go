package m365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

const serviceDefender = "Microsoft Defender"

// ErrNotGranted is wrapped by the errors of Vulnerabilities that say that the app
// may not read them: Defender refused (403), or the tenant gives no token for it
// because it never consented.
var ErrNotGranted = errors.New("the app may not read Defender's vulnerabilities of the tenant")

// exportPage is how many records a page of the export has, of 200,000 at most. A
// page that breaks off is read again whole.
const exportPage = 50_000

// exportLimits are far above a tenant of 100,000 devices, beyond which Microsoft
// gives the export as files only.
var exportLimits = bounds.Limits{Pages: 3000, Items: 20_000_000, Bytes: 64 << 30, Idle: 20}

// exportAnswer bounds one page, which is decoded as it arrives.
var exportAnswer = reply.Limits{Bytes: 1 << 30, Record: 2 << 20, Records: 200_000}

// Vulnerabilities hands each record of Defender's export of vulnerabilities by
// device to each. kept returns how much of it is kept by now, so that an export
// that brings nothing new comes to an end. A record may come twice. Only without an
// error was it the whole export. It calls
// GET /api/machines/SoftwareVulnerabilitiesByMachine, which may be called 30 times
// a minute and 1,000 times an hour for a tenant.
// https://learn.microsoft.com/defender-endpoint/api/get-assessment-software-vulnerabilities
func (r *Reader) Vulnerabilities(ctx context.Context, ref tenant.Ref, each func(*wire.Vulnerability) error, kept func() int) error {
	s := &session{service: serviceDefender, origin: r.defenderEndpoint, client: r.client, tokens: r.tokens, ref: ref, scope: r.defenderScope}
	if err := s.open(ctx); err != nil {
		return granted(err)
	}
	link := s.origin.JoinPath("api/machines/SoftwareVulnerabilitiesByMachine")
	link.RawQuery = url.Values{"pageSize": {fmt.Sprint(exportPage)}}.Encode()
	list, seen := bounds.List{Limits: exportLimits}, map[string]bool{}
	for first := true; ; first = false {
		before := kept()
		page, err := export(ctx, s, link.String(), each)
		switch {
		case err != nil && first:
			return granted(err)
		case err != nil:
			return err
		case page.next == "":
			return nil
		}
		if err := list.Page(page.records, kept()-before, page.size); err != nil {
			return &endlessError{s.service, err}
		}
		if link, err = url.Parse(page.next); err != nil || !sameOrigin(link, s.origin) {
			return &linkError{s.service}
		}
		if seen[page.next] {
			return &endlessError{s.service, errors.New("its pages go round in a circle")}
		}
		seen[page.next] = true
	}
}

// granted adds ErrNotGranted to a refusal that is about what the app may do.
func granted(err error) error {
	refusal, refused := errors.AsType[*AuthError](err)
	if hasStatus(err, http.StatusForbidden) || refused && refusal.Meaning == noConsent.meaning {
		return fmt.Errorf("%w: %w", ErrNotGranted, err)
	}
	return err
}

// exported is what came of one page.
type exported struct {
	next    string
	records int
	size    int64
}

// takenError: each did not take a record, so that the page is not asked for again.
type takenError struct{ error }

func (e takenError) Unwrap() error { return e.error }

// export reads one page, once more if it broke off.
func export(ctx context.Context, s *session, address string, each func(*wire.Vulnerability) error) (exported, error) {
	build := func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, &linkError{s.service}
		}
		req.Header.Set("Accept", "application/json")
		return req, nil
	}
	var page exported
	for attempt := 1; ; attempt++ {
		res, err := s.do(ctx, build)
		if err != nil {
			return page, err
		}
		if res.StatusCode != http.StatusOK {
			failure, err := errorOf(s.service, res)
			s.tell(err, 1)
			return page, failure
		}
		counted := &counting{in: res.Body}
		in := reply.NewReader(ctx, counted, exportAnswer)
		page.next, page.records, err = wire.StreamPage(in, func(v *wire.Vulnerability) error {
			if err := each(v); err != nil {
				return takenError{err}
			}
			return nil
		})
		in.Close()
		discard(res)
		page.size = counted.n
		s.tell(err, 1)
		taken, refused := errors.AsType[takenError](err)
		switch {
		case err == nil:
			return page, nil
		case ctx.Err() != nil:
			return page, ctx.Err()
		case refused:
			return page, taken.error
		case !again(attempt, err):
			return page, &bodyError{s.service, err}
		}
	}
}

// counting counts what is read.
type counting struct {
	in interface{ Read([]byte) (int, error) }
	n  int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

// DefenderAccess signs in to a tenant anew for Defender, and returns the permission
// that the token does not name; nil when it names it, or does not tell what it
// permits. It costs one call of the sign-in service.
func (r *Reader) DefenderAccess(ctx context.Context, ref tenant.Ref) (missing *Permission, err error) {
	value, err := r.tokens.fresh(ctx, ref, r.defenderScope)
	if err != nil {
		return nil, err
	}
	p := permissions[partVulnerabilities]
	if g := grantsOf(value); g == nil || g.allow(p, r.auth) {
		return nil, nil
	}
	return &p, nil
}
