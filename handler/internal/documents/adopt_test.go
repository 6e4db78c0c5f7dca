package documents

import (
	"testing"

	"cipp-ninjaone/sandbox/ninjasim"
)

// gone returns the archived document of a user or licence.
func (w *world) gone(b blueprint, id string) int {
	w.t.Helper()
	for _, d := range w.Documents(organization) {
		if d.Archived && d.Fields[b.idField] == id {
			return d.ID
		}
	}
	w.t.Fatalf("%s has no archived document", id)
	return 0
}

// TestIDChangedInADocument has somebody write another id into a user's document.
func TestIDChangedInADocument(t *testing.T) {
	for name, other := range map[string]func(users []string) string{
		"of nobody":       func([]string) string { return "44444444-aaaa-4000-8000-000000000000" },
		"of another user": func(users []string) string { return users[1] },
		"of one who left": func(users []string) string { return users[2] },
		"of none":         func([]string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			w, m, users := small(t)
			w.sync(m)
			delete(m.users, users[2])
			w.sync(m)
			w.RemoveDocument(w.gone(userBlueprint, users[2]))
			w.ChangeDocument(w.live(m, userBlueprint)[users[0]].ID, func(d *ninjasim.Document) { d.Fields[userBlueprint.idField] = other(users) })
			w.now = w.now.Add(relistAfter)
			w.sync(m)
			w.verify(m)
			m.users[users[0]].title = "New"
			w.sync(m)
			w.verify(m)
			w.verifyMap(m)
			w.verifyRelisted(m)
		})
	}
}
