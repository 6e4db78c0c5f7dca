package ninjasim

import (
	"net/url"
	"slices"
	"testing"
)

func TestDevicesOfAnOrganization(t *testing.T) {
	i := newInstance(t)
	for filter, want := range map[string][]int{"": {11, 12, 21}, "org = 1": {11, 12}, "org = 2": {21}, "org = 99": {}} {
		if got := ids(i.send("GET", "/v2/devices-detailed?df="+url.PathEscape(filter), "").list(t), "id"); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", filter, got, want)
		}
	}
}
