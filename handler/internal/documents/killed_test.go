package documents

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestKilledAtAnyCall ends the process at each call of a run, before NinjaOne
// does what it is asked and after: the next run makes everything exact, and
// nothing was created twice. Each day tries one call in three.
func TestKilledAtAnyCall(t *testing.T) {
	for name, begin := range map[string]func(*testing.T) (*world, *model){
		"the first run": func(t *testing.T) (*world, *model) {
			w, m, _ := small(t)
			return w, m
		},
		"the first run after CIPP": func(t *testing.T) (*world, *model) {
			w, m, _ := small(t)
			fromCIPP(w, m)
			return w, m
		},
		"a day": func(t *testing.T) (*world, *model) {
			w, m, users := small(t)
			back := m.join("Dora", slices.Sorted(maps.Keys(m.skus))...)
			w.sync(m)
			dora := m.users[back]
			delete(m.users, back)
			w.sync(m)
			// One returns, one leaves with a licence of his, one joins, one changes, and
			// a device goes to somebody else.
			m.users[back] = dora
			m.users[users[2]].title = "New"
			m.users[users[0]].skus = m.users[users[1]].skus
			delete(m.users, users[1])
			delete(m.skus, m.buy("VISIO"))
			dora.skus = m.users[users[0]].skus
			emil := m.join("Emil", dora.skus...)
			device := slices.Sorted(maps.Keys(m.devices))[0]
			m.devices[device] = gadget{m.devices[device].ninja, emil}
			return w, m
		},
	} {
		w, m := begin(t)
		calls := w.killedAt(m, 0, false)
		w.verify(m)
		for _, before := range draw.Below(t, 3, calls) {
			n := before + 1
			for _, done := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, call %d, done %v", name, n, done), func(t *testing.T) {
					t.Parallel()
					w, m := begin(t)
					w.killedAt(m, n, done)
					w.sync(m)
					w.verify(m)
					w.verifyMap(m)
					w.verifyRelisted(m)
					seen := map[string]int{}
					for _, d := range w.Documents(organization) {
						if seen[d.Name]++; seen[d.Name] > 1 && !strings.HasPrefix(name, "the first run after") {
							t.Errorf("%q was created twice", d.Name)
						}
					}
					if templates := w.Templates(); slices.ContainsFunc(templates, func(a ninjasim.Template) bool {
						return slices.ContainsFunc(templates, func(b ninjasim.Template) bool { return a.ID != b.ID && a.Name == b.Name })
					}) {
						t.Errorf("a template was created twice: %d", len(templates))
					}
				})
			}
		}
	}
}

// killedAt runs a tenant's sync of which the process ends at the nth call, done
// says whether NinjaOne did what it asks. It returns how many calls there were.
func (w *world) killedAt(m *model, n int, done bool) (calls int) {
	err := w.dying(m, done, func(*http.Request) bool {
		calls++
		return calls == n
	})
	if err != nil && n == 0 {
		w.t.Fatal(err)
	}
	return calls
}
