package ninjaone

import (
	"fmt"
	"testing"
	"time"
)

// NinjaOne's times are seconds by its OpenAPI document, and milliseconds by what
// some have seen: each gives the same moment.
func TestEpoch(t *testing.T) {
	moment := time.Date(2026, 11, 23, 9, 0, 0, 250_000_000, time.UTC)
	for name, tt := range map[string]struct {
		number float64
		want   time.Time
	}{
		"seconds":               {float64(moment.UnixMilli()) / 1000, moment},
		"milliseconds":          {float64(moment.UnixMilli()), moment},
		"seconds of long ago":   {1, time.Unix(1, 0).UTC()},
		"the last of seconds":   {99_999_999_999, time.Unix(99_999_999_999, 0).UTC()},
		"first of milliseconds": {100_000_000_000, time.Date(1973, 3, 3, 9, 46, 40, 0, time.UTC)},
		"nothing":               {0, time.Time{}},
		"before 1970":           {-5, time.Time{}},
		"nanoseconds":           {float64(moment.UnixNano()), time.Time{}},
	} {
		if got := epoch(tt.number); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// A report that NinjaOne does not filter is filtered here.
func TestReportThatIsNotFiltered(t *testing.T) {
	asked := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	before, after := asked.Add(-time.Hour).Unix(), asked.Add(time.Hour)
	body := fmt.Sprintf(`{"results":[
		{"deviceId":7,"fields":[{"name":"links","value":"old","updateTime":%d}]},
		{"deviceId":8,"fields":[{"name":"links","value":"new","updateTime":%d},{"name":"links","value":"old","updateTime":%d000}]},
		{"deviceId":9,"fields":[{"name":"links","value":"when?"}]}]}`, before, after.UnixMilli(), before)
	got := map[int][]FieldValue{}
	for v, err := range serve(t, newFake(t, status(200, body))).DeviceFieldValues(t.Context(), 3, []string{"links"}, asked, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got[v.DeviceID] = v.Fields
	}
	if len(got[7]) != 0 || len(got[8]) != 1 || !got[8][0].Updated.Equal(after) || len(got[9]) != 1 {
		t.Errorf("%+v", got)
	}
}
