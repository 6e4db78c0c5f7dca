package compliance_test

import (
	"testing"

	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/seed"
)

type world struct{ *triggertest.World }

func newWorld(t testing.TB, data *seed.Seed) *world { return &world{triggertest.New(t, data)} }

var must = fail.If
