package ninjasim

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestDeviceFilter(t *testing.T) {
	i := newInstance(t)
	tests := []struct {
		filter string
		want   []int // nil: refused
	}{
		{"", []int{11, 12, 21}},
		{"org = 1", []int{11, 12}},
		{"organization=1", []int{11, 12}},
		{"org eq 1 AND class = WINDOWS_SERVER", []int{12}},
		{"org=1 and online", []int{11}},
		{"org in (1, 2) && offline", []int{12}},
		{"org != 1", []int{21}},
		{"id !in (11,12)", []int{21}},
		{"id nin (11)", []int{12, 21}},
		{"class in (MAC,WINDOWS_SERVER)", []int{12, 21}},
		{"class neq MAC", []int{11, 12}},
		{"status = PENDING", []int{13}},
		{"status != PENDING AND org = 1", []int{11, 12}},
		{"loc = 2", []int{21}},
		{"org = 99", []int{}},
		{"org = 1 OR org = 2", nil},
		{"org = 1 org = 2", nil},
		{"org = x", nil},
		{"org = 1 AND", nil},
		{"org in 1", nil},
		{"org in (1", nil},
		{"org in (1,)", nil},
		{"org > 1", nil},
		{"org", nil},
		{"class = LAPTOP", nil},
		{"status = DECOMMISSIONED", nil},
		{"search = abc", nil},
		{"group 5", nil},
		{"org = '1'", nil},
	}
	for _, test := range tests {
		t.Run(test.filter, func(t *testing.T) {
			i.ResetCounters()
			escaped := strings.ReplaceAll(url.PathEscape(test.filter), "&", "%26")
			a := i.send("GET", "/v2/devices?df="+escaped, "")
			if test.want == nil {
				if a.status != 400 || len(i.Violations()) == 0 {
					t.Errorf("status %d: %s", a.status, a.body)
				}
				return
			}
			if a.status != 200 {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if got := ids(a.list(t), "id"); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
