package compliance_test

import (
	"testing"

	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/seed"
)

type world struct{ *triggertest.World }

func newWorld(t testing.TB, data *seed.Seed) *world { return &world{triggertest.New(t, data)} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
