package stack

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/azurite"
)

// TestBuildLooksAtTheHandler: Go repeats a test whose kept result is of an older handler. For
// that Build itself must list every folder of the handler, which the log of a test shows.
func TestBuildLooksAtTheHandler(t *testing.T) {
	const inner = "BUILD_INTO"
	if dir := os.Getenv(inner); dir != "" {
		ended, end := context.WithCancel(t.Context())
		end()
		if err := Build(ended, dir, ""); !errors.Is(err, context.Canceled) {
			t.Fatal("it did not get as far as the build:", err)
		}
		return
	}
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBuildLooksAtTheHandler$", "-test.testlogfile="+log)
	cmd.Env = append(os.Environ(), inner+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	root, err := azurite.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"handler/internal", "handler/internal/compose", "handler/internal/documents/relations"} {
		if !strings.Contains(string(seen), "open "+filepath.Join(root, filepath.FromSlash(folder))+"\n") {
			t.Errorf("Build did not list %s", folder)
		}
	}
}
