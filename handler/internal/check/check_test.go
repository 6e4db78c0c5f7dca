package check

import (
	"testing"
)

func TestHealthy(t *testing.T) {
	l := newLab(t, nil)
	r := l.check()
	if r.Problems+r.Notices > 0 || len(r.Sections) != len(sections) {
		t.Errorf("a healthy deployment has findings:\n%s", text(t, r))
	}
	for _, s := range r.Sections {
		if s.Skipped != "" || s.Checked == "" {
			t.Errorf("section %s was not looked at: %q", s.Name, s.Skipped)
		}
	}
}
