package cipp

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// TestCVEExceptions: as CIPP compares them, but with the expiry that CIPP's page
// stores.
func TestCVEExceptions(t *testing.T) {
	s, _ := newStore(t, Deps{})
	ref := tenant.Ref{ID: "cccccccc-0000-4000-8000-000000000001", DefaultDomain: "fabrikam.example"}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	got, err := s.CVEExceptions(t.Context(), ref, now)
	must(t, err)
	if len(got.IDs) != 0 {
		t.Errorf("a missing table has the exceptions %v", got.IDs)
	}
	expires := func(cve, expiry string) storage.Entity {
		return row(cve, "Fabrikam.example", "cveId", cve, "exceptionExpiry", expiry)
	}
	s.seed(t, tableCVEExceptions,
		row("CVE-2026-0001", "ALL"),
		row("cve-2026-0002", "FABRIKAM.example"),
		row("CVE-2026-0003", ref.ID), // an id is no domain, as in CIPP
		row("CVE-2026-0004", "contoso.example"),
		row("CVE-2026-0005", "all"),
		expires("CVE-2026-0010", "2026-11-29"),
		expires("CVE-2026-0011", "2026-11-30"), // until the end of today
		expires("CVE-2026-0012", "2026-11-29T23:30:00-05:00"),
		expires("CVE-2026-0013", "1795996800"),    // seconds, today
		expires("CVE-2026-0014", "1795996799000"), // milliseconds, yesterday
		expires("CVE-2026-0015", "next Tuesday"),
		expires("CVE-2026-0016", ""),
		expires("CVE-2026-0017", "20"))
	got, err = s.CVEExceptions(t.Context(), ref, now)
	must(t, err)
	want := []string{"CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0005", "CVE-2026-0011", "CVE-2026-0012", "CVE-2026-0013", "CVE-2026-0015", "CVE-2026-0016"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got.IDs))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"CVE-2026-0015"}, got.Unread); diff != "" {
		t.Error(diff)
	}
}

// TestPrefixAsTyped: the group of a prefix that ends in a space is named with it.
func TestPrefixAsTyped(t *testing.T) {
	for stored, want := range map[string]string{
		`"CIPP "`: "CIPP ", `" x"`: " x", `{"label":"a ","value":"b "}`: "b ", `{"label":"a "}`: "a ", `7`: "7", `null`: "", `[]`: "", `true`: "",
	} {
		c, err := parseExtensionConfig(`{"NinjaOne":{"Enabled":true,"CveSyncPrefix":` + stored + `}}`)
		if err != nil || c.CVESyncPrefix != want {
			t.Errorf("%s reads as %q (%v), want %q", stored, c.CVESyncPrefix, err, want)
		}
	}
}
