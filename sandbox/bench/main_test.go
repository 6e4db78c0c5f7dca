package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"cipp-ninjaone/sandbox/stack"
)

// bundle assembles the app root on first use, so that `go test` without
// benchmarks builds nothing.
var bundle = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cipp-ninjaone-bench-*")
	if err != nil {
		return "", err
	}
	built = dir
	return dir, stack.Build(context.Background(), dir, "")
})

// built is the folder to remove in the end.
var built string

// tables are printed after the benchmarks' own lines, which they would break up;
// the log of a benchmark is cut after ten lines.
var tables strings.Builder

func TestMain(m *testing.M) {
	code := m.Run()
	fmt.Print(tables.String())
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// appRoot returns the folder of the bundle.
func appRoot(b *testing.B) string {
	b.Helper()
	dir, err := bundle()
	if err != nil {
		b.Fatal("the bundle to measure: ", err)
	}
	return dir
}
