package compose

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// TestJoin joins the sections of 2 to 400 tenants, large ones among them: NinjaOne
// takes what comes out, and it names every tenant as long as there is room for
// the names.
func TestJoin(t *testing.T) {
	type sections struct {
		whole   OrganizationFields
		shorter Forms
	}
	var kinds []sections // which every third, and the two after it, are like but for the name
	for _, in := range []Input{pathological(), believable(), unreadable()} {
		in.Shared, in.Snapshot.Tenant.DisplayName = true, "Tenant NNN & Sons"
		whole, shorter := Sections(in)
		kinds = append(kinds, sections{whole, shorter})
	}
	for name, of := range map[string]func(sections) []Form{
		"TenantLinks": func(s sections) []Form { return append([]Form{{HTML: s.whole.TenantLinks}}, s.shorter.TenantLinks...) },
		"TenantSummary": func(s sections) []Form {
			return append([]Form{{HTML: s.whole.TenantSummary}}, s.shorter.TenantSummary...)
		},
		"UsersSummary": func(s sections) []Form {
			return append([]Form{{HTML: s.whole.UsersSummary}}, s.shorter.UsersSummary...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			forms := make([][]Form, 400)
			for i := range forms {
				for _, f := range of(kinds[i%3]) {
					f.HTML = strings.ReplaceAll(f.HTML, "Tenant NNN", fmt.Sprintf("Tenant %03d", i))
					forms[i] = append(forms[i], f)
				}
			}
			for _, tenants := range []int{2, 3, 16, 40, 100, 400} {
				value, cuts := Join(ninjaone.MaxHTML, forms[:tenants]...)
				checkMarkup(t, value)
				length := ninjaone.JSONLength(value)
				if length > ninjaone.MaxHTML || len(cuts) != tenants {
					t.Errorf("%d tenants: %d characters, %d cuts", tenants, length, len(cuts))
				}
				for i := range tenants {
					if !strings.Contains(value, fmt.Sprintf("Tenant %03d &amp; Sons", i)) {
						t.Errorf("%d tenants: the one of number %d is not named", tenants, i)
					}
				}
				if worst := slices.Max(cuts); tenants <= 100 && worst > OneLine || tenants <= 3 && worst > FewerRows {
					t.Errorf("%d tenants: one is shown %s", tenants, worst)
				}
				if again, _ := Join(ninjaone.MaxHTML, forms[:tenants]...); again != value {
					t.Errorf("%d tenants: joined again they are not the same", tenants)
				}
			}
		})
	}
}

func TestJoinSteps(t *testing.T) {
	forms := func(lengths ...int) (all []Form) {
		for i, n := range lengths {
			all = append(all, Form{strings.Repeat(string(rune('a'+i)), n), Cut(i)})
		}
		return all
	}
	hidden := ninjaone.JSONLength(missingTenants(1))
	for name, tt := range map[string]struct {
		limit int
		forms [][]Form
		want  []Cut
	}{
		"there is room":                    {100, [][]Form{forms(50, 10), forms(50, 10)}, []Cut{Whole, Whole}},
		"the longer gives way":             {99, [][]Form{forms(40, 10), forms(60, 30, 10)}, []Cut{Whole, FewerRows}},
		"both do":                          {45, [][]Form{forms(40, 10), forms(60, 30, 10)}, []Cut{FewerRows, FewerRows}},
		"to the last":                      {25, [][]Form{forms(40, 10), forms(60, 30, 10)}, []Cut{FewerRows, FewerCards}},
		"an old section has only one form": {hidden + 15, [][]Form{forms(40, 10), forms(900)}, []Cut{FewerRows, NotShown}},
		"no room for anything":             {5, [][]Form{forms(40, 10), forms(900)}, []Cut{NotShown, NotShown}},
	} {
		t.Run(name, func(t *testing.T) {
			value, cuts := Join(tt.limit, tt.forms...)
			if !slices.Equal(cuts, tt.want) || ninjaone.JSONLength(value) > tt.limit {
				t.Errorf("got %v, %d characters, want %v", cuts, ninjaone.JSONLength(value), tt.want)
			}
		})
	}
}

// TestAloneAndShared composes a tenant alone, and shows it beside another that was
// mapped to its organization since.
func TestAloneAndShared(t *testing.T) {
	in := believable()
	alone, kept := Sections(in)
	if strings.Contains(alone.TenantSummary, "<h3>") {
		t.Error("a tenant alone in its organization has a heading")
	}
	if kept.Heading != "<h3>Larkfield Surveyors</h3>" || len(kept.TenantSummary) != 2 {
		t.Errorf("it keeps the heading %q and %d shorter forms", kept.Heading, len(kept.TenantSummary))
	}
	in.Shared = true
	shared, _ := Sections(in)
	if shared.TenantSummary != kept.Heading+alone.TenantSummary {
		t.Error("with its heading it is not what it is beside others")
	}
}
