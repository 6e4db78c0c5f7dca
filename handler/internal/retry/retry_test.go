package retry

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC() // on a whole second in a bubble of time
		for _, tt := range []struct {
			value, date string
			want        time.Duration
			ok          bool
		}{
			{"7", "", 7 * time.Second, true},
			{" 0.25 ", "", 250 * time.Millisecond, true},
			{"1.5", "", 1500 * time.Millisecond, true},
			{"0.0001", "", time.Millisecond, true}, // never too early
			{"0", "", 0, true},
			{"-4", "", 0, true},
			{"1e300", "", Longest, true},
			{"Inf", "", Longest, true},
			{"NaN", "", 0, false},
			{"", "", 0, false},
			{"soon", "", 0, false},
			{now.Add(30 * time.Second).Format(http.TimeFormat), "", 30 * time.Second, true},
			{now.Add(-time.Hour).Format(http.TimeFormat), "", 0, true},
			{now.AddDate(9, 0, 0).Format(http.TimeFormat), "", Longest, true},
			{now.Format(http.TimeFormat), now.Add(-time.Minute).Format(http.TimeFormat), time.Minute, true},
			{now.Add(time.Minute).Format(http.TimeFormat), "yesterday", time.Minute, true},
		} {
			got, ok := After(http.Header{"Retry-After": {tt.value}, "Date": {tt.date}})
			if got != tt.want || ok != tt.ok {
				t.Errorf("%q on %q: %v, %t; want %v, %t", tt.value, tt.date, got, ok, tt.want, tt.ok)
			}
		}
	})
}

func FuzzAfter(f *testing.F) {
	for _, seed := range []string{"1", "0.5", "Mon, 23 Nov 2026 12:00:30 GMT", "Inf", "-Inf", "NaN", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d, ok := After(http.Header{"Retry-After": {value}}); d < 0 || d > Longest || !ok && d != 0 {
			t.Errorf("%q gives %v", value, d)
		}
	})
}

func TestBackoff(t *testing.T) {
	for n, least := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: 32 * time.Second, 1000: 32 * time.Second} {
		if got := Backoff(time.Second, n); got < least || got > least*5/4 {
			t.Errorf("wait %d is %v, want at least %v", n, got, least)
		}
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Sleep(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Errorf("slept %v, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Sleep(ctx, time.Hour); err == nil || time.Since(start) != time.Hour+time.Minute {
			t.Errorf("slept %v, %v", time.Since(start), err)
		}
	})
}
