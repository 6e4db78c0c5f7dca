// Package draw says which cases of a test that tries very many are tried: those of a day,
// or all of them. Tests alone import it.
//
// FAULT_MATRIX names the draw: a day such as 2026-01-31, or "whole". Without it the draw is
// today's. CI tries the whole, and a day's part under the race detector.
package draw

import (
	"os"
	"testing"
	"time"
)

const wholeName = "whole"

// Day returns the day of the draw, as days since 1970, and whether all is tried instead. The
// test's log says how to repeat the draw.
func Day(t testing.TB) (day int, whole bool) {
	t.Helper()
	name := os.Getenv("FAULT_MATRIX")
	switch {
	case name == wholeName:
		return 0, true
	case name == "":
		name = time.Now().UTC().Format(time.DateOnly)
	}
	date, err := time.Parse(time.DateOnly, name)
	if err != nil {
		t.Fatalf("FAULT_MATRIX is %q: want a day such as 2026-01-31, or %q", name, wholeName)
	}
	t.Logf("FAULT_MATRIX=%s repeats this draw", name)
	return int(date.Unix() / (24 * 60 * 60)), false
}

// Every returns the first case that is tried, from 0, and how far it is to the next: each
// day one in n, so that n days in a row try all of them.
func Every(t testing.TB, n int) (first, step int) {
	t.Helper()
	day, whole := Day(t)
	if whole {
		return 0, 1
	}
	return day % n, n
}

// Below returns the numbers below count that are tried: each day one in n.
func Below[N int | uint64](t testing.TB, n int, count N) (tried []N) {
	t.Helper()
	first, step := Every(t, n)
	for i := N(first); i < count; i += N(step) {
		tried = append(tried, i)
	}
	if count > 0 && len(tried) == 0 {
		t.Fatalf("%d cases are too few for one in %d", count, n)
	}
	return tried
}

// Of returns the cases that are tried: each day one in n.
func Of[T any](t testing.TB, n int, cases []T) (tried []T) {
	t.Helper()
	for _, i := range Below(t, n, len(cases)) {
		tried = append(tried, cases[i])
	}
	return tried
}
