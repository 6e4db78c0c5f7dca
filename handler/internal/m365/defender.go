package m365

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

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

// Vulnerabilities hands each record of Defender's export of vulnerabilities by device to
// each. By kept, how much the caller has kept by now, it ends an export that brings
// nothing new. A record may come twice. Only without an error was it the whole export. It
// calls GET /api/machines/SoftwareVulnerabilitiesByMachine. Defender allows 30 calls a
// minute and 1,000 an hour for a tenant:
// https://learn.microsoft.com/defender-endpoint/api/get-assessment-software-vulnerabilities
func (r *Reader) Vulnerabilities(ctx context.Context, ref tenant.Ref, each func(*wire.Vulnerability) error, kept func() int) error {
	s := &session{service: r.defender, client: r.client, tokens: r.tokens, ref: ref}
	if err := s.open(ctx); err != nil {
		return granted(err)
	}
	next := s.origin.JoinPath("api/machines/SoftwareVulnerabilitiesByMachine").String() + fmt.Sprintf("?pageSize=%d", exportPage)
	list, seen := bounds.List{Limits: s.list}, map[string]bool{}
	for first := true; ; first = false {
		before := kept()
		page, records, err := export(ctx, s, next, each)
		switch {
		case err != nil && first:
			return granted(err)
		case err != nil:
			return err
		case page.Next == "":
			return nil
		}
		if err := list.Page(records, kept()-before, page.Size); err != nil {
			return &endlessError{s.name, err}
		}
		if err := s.follows(page.Next, seen); err != nil {
			return err
		}
		next = page.Next
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

// takenError: each did not take a record, so that the page is not asked for again.
type takenError struct{ error }

// export reads one page, once more if it broke off.
func export(ctx context.Context, s *session, address string, each func(*wire.Vulnerability) error) (page wire.Page[wire.Vulnerability], records int, err error) {
	build := func(ctx context.Context) (*http.Request, error) { return s.get(ctx, address) }
	page, err = fetch(ctx, s, build, func(in io.Reader) (wire.Page[wire.Vulnerability], error) {
		records = 0
		return wire.StreamPage(in, "value", func(v *wire.Vulnerability, fits bool) error {
			if !fits {
				return errNoRecord
			}
			records++
			if err := each(v); err != nil {
				return takenError{err}
			}
			return nil
		})
	})
	if taken, ok := errors.AsType[takenError](err); ok {
		err = taken.error
	}
	return page, records, err
}

// errNoRecord: nothing may skip a record of an export, or the rest would count as the
// whole list.
var errNoRecord = errors.New("an element of it is not a record")

// DefenderAccess signs in to a tenant anew for Defender, and returns the permission that
// the token lacks. It returns nil when the token names it, or does not tell what it
// permits. It costs one call of the sign-in service.
func (r *Reader) DefenderAccess(ctx context.Context, ref tenant.Ref) (missing *Permission, err error) {
	value, err := r.tokens.fresh(ctx, ref, r.defender.scope)
	if err != nil {
		return nil, err
	}
	p := permissions[partVulnerabilities]
	if g := grantsOf(value); g == nil || g.allow(p, r.application) {
		return nil, nil
	}
	return &p, nil
}
