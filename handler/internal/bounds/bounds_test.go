package bounds

import (
	"errors"
	"strings"
	"testing"
)

func TestListEnds(t *testing.T) {
	small := Limits{Pages: 50, Items: 100, Bytes: 1 << 20, Idle: 20}
	for name, tt := range map[string]struct {
		limits         Limits
		records, fresh int
		size           int64
		pages          int
		says           string
	}{
		"empty pages":              {small, 0, 0, 10, 20, "20 pages in a row bring nothing new"},
		"the same records":         {small, 1, 0, 10, 20, "nothing new"},
		"one new record a page":    {small, 1, 1, 10, 50, "after 50 pages"},
		"full pages":               {small, 40, 40, 10, 3, "after 120 records"},
		"heavy pages":              {small, 1, 1, 512 << 10, 2, "after 1 MiB"},
		"members of known records": {small, 1, 7, 10, 50, "after 50 pages"},
		"the usual limits":         {Limits{}, 999, 999, 1 << 20, 301, "records"},
		"the usual pages":          {Limits{}, 1, 1, 10, 3000, "after 3000 pages"},
		"the usual bytes":          {Limits{}, 1, 1, 32 << 20, 16, "after 512 MiB"},
		"the usual patience":       {Limits{}, 1, 0, 10, 20, "nothing new"},
	} {
		t.Run(name, func(t *testing.T) {
			l := List{Limits: tt.limits}
			for n := 1; ; n++ {
				err := l.Page(tt.records, tt.fresh, tt.size)
				if err == nil && n < tt.pages {
					continue
				}
				if n != tt.pages || !errors.Is(err, ErrEndless) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("after %d pages: %v", n, err)
				}
				return
			}
		})
	}
}

func TestSomethingNewStartsTheCountAnew(t *testing.T) {
	var l List
	for n := range 100 {
		fresh := 0
		if n%19 == 0 {
			fresh = 1
		}
		if err := l.Page(1, fresh, 1); err != nil {
			t.Fatal(n, err)
		}
	}
}

func TestFresh(t *testing.T) {
	fresh := Fresh[string]()
	for _, tt := range []struct {
		key  string
		want bool
	}{{"a", true}, {"", false}, {"b", true}, {"a", false}, {"", false}} {
		if got := fresh(tt.key); got != tt.want {
			t.Errorf("%q: %v", tt.key, got)
		}
	}
}
