package e2e

import (
	"archive/zip"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/stack"
)

// TestPackage runs what `make package` writes, unzipped as the platform mounts
// it, built for this machine so that it can run here.
func TestPackage(t *testing.T) {
	t.Parallel()
	const version = "v1.2.3-test"
	dir := unpack(t, version)
	must(t, stack.SlowTimers(dir))
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "handler"), "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "cipp-ninjaone "+version+" (go") {
		t.Errorf("`handler version` prints %q, %v", out, err)
	}

	data := generated(2)
	synced, closed := data.Tenants[0].DefaultDomain, data.Tenants[1]
	closed.Login = m365sim.ConsentMissing
	w := start(t, data, func(c *funchost.Config) { c.AppRoot = dir })
	root, err := azurite.ModuleRoot()
	must(t, err)
	folders, err := os.ReadDir(filepath.Join(root, "functions"))
	must(t, err)
	var want []string
	for _, f := range folders {
		want = append(want, f.Name())
	}
	if got := slices.Sorted(slices.Values(w.Host.Functions())); !slices.Equal(got, want) {
		t.Errorf("the host runs %v, want %v", got, want)
	}
	w.await("the log to tell the version", func() bool {
		return slices.ContainsFunc(w.lines, func(line string) bool {
			return strings.Contains(line, `"msg":"listening"`) && strings.Contains(line, `"version":"`+version+`"`)
		})
	})
	if status, page := w.call(http.MethodGet, "/api/ninjaone/console/", ""); status != http.StatusOK || !strings.Contains(page, "<html") {
		t.Errorf("the console answers %d: %.200s", status, page)
	}
	w.sync(synced).completed()
	w.correct(synced)

	// As the guide has it: by hand, with the app's settings.
	check := exec.CommandContext(t.Context(), filepath.Join(dir, "handler"), "check")
	check.Env = os.Environ()
	for name, value := range w.Settings() {
		check.Env = append(check.Env, name+"="+value)
	}
	report, err := check.Output()
	if status, ok := errors.AsType[*exec.ExitError](err); !ok || status.ExitCode() != 1 || !strings.Contains(string(report), closed.DefaultDomain) {
		t.Errorf("`handler check` ends with %v and does not tell of the tenant without consent:\n%s", err, report)
	}
}

// unpack builds the package and returns the folder that it was unzipped to.
func unpack(t *testing.T, version string) string {
	t.Helper()
	root, err := azurite.ModuleRoot()
	must(t, err)
	out, dir := t.TempDir(), t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./tools/bundle", "-out", out, "-version", version, "-platform", runtime.GOOS+"/"+runtime.GOARCH)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+toolchain(t, root), "GOFLAGS=-trimpath -buildvcs=false", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
	r, err := zip.OpenReader(filepath.Join(out, "cipp-ninjaone.zip"))
	must(t, err)
	defer r.Close()
	for _, f := range r.File {
		content, err := r.Open(f.Name)
		must(t, err)
		text, err := io.ReadAll(content)
		must(t, err)
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, text, f.Mode()))
	}
	return dir
}

// toolchain is the one that go.mod names, as `make package` sets it.
func toolchain(t *testing.T, root string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "go "); ok {
			return "go" + v
		}
	}
	t.Fatal("go.mod names no Go version")
	return ""
}
