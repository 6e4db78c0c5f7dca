package cipp

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/isotime"
	"cipp-ninjaone/handler/internal/tenant"
)

const tableCVEExceptions = "CveExceptions"

// everyTenant is the row key of exceptions for every tenant.
const everyTenant = "ALL"

// CVEExceptions are the CVEs that engineers excepted in CIPP for a tenant.
type CVEExceptions struct {
	IDs map[string]bool // CVE ids in upper case
	// Unread are those among them whose expiry cannot be read, sorted: they apply.
	Unread []string
}

// CVEExceptions returns the exceptions that apply to a tenant at the time now. They are
// those for all tenants, and those for its default domain. Like CIPP it compares without
// case, and does not take a tenant id for a domain. Unlike CIPP it lets an exception end
// with the day of its expiry, in UTC.
func (s *Store) CVEExceptions(ctx context.Context, ref tenant.Ref, now time.Time) (CVEExceptions, error) {
	all := CVEExceptions{IDs: map[string]bool{}}
	unread := map[string]bool{}
	for e, err := range s.rows(ctx, tableCVEExceptions, "") { // a filter of the service heeds case
		if err != nil {
			return CVEExceptions{}, fmt.Errorf("read CIPP's exceptions of vulnerabilities for tenant %s: %w", ref.ID, err)
		}
		id := strings.ToUpper(strings.TrimSpace(cmp.Or(e.String("cveId"), e.PartitionKey())))
		who := strings.TrimSpace(e.RowKey())
		if id == "" || !strings.EqualFold(who, everyTenant) && !strings.EqualFold(who, ref.DefaultDomain) {
			continue
		}
		ended, ok := endOf(e.String("exceptionExpiry"))
		if ok && !ended.IsZero() && !now.Before(ended) {
			continue
		}
		if all.IDs[id] = true; !ok {
			unread[id] = true
		}
	}
	all.Unread = slices.Sorted(maps.Keys(unread))
	return all, nil
}

// endOf returns when an exception ends, by the expiry that CIPP's page posted. The expiry
// is an ISO date, or seconds or milliseconds since 1970. The end is that of the day in
// UTC, and zero without an expiry.
func endOf(expiry string) (end time.Time, ok bool) {
	expiry = strings.TrimSpace(expiry)
	if expiry == "" {
		return time.Time{}, true
	}
	at, ok := isotime.Parse(expiry)
	// Digits are neither a year nor a date without signs: CIPP's picker posts seconds.
	if n, err := strconv.ParseInt(expiry, 10, 64); err == nil {
		if at, ok = time.Unix(n, 0).UTC(), n > 0; n >= fromMilliseconds {
			at = time.UnixMilli(n).UTC()
		}
	}
	if !ok || at.Year() > 9999 {
		return time.Time{}, false
	}
	return at.Truncate(24*time.Hour).AddDate(0, 0, 1), true
}

// fromMilliseconds is the first number that stands for milliseconds since 1970.
const fromMilliseconds = 1e11
