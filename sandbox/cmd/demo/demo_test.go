package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/loopback"
	"cipp-ninjaone/sandbox/stack"
)

// nowhere is a home folder that nobody can write, or make.
const nowhere = "/proc/none/home"

// without returns the environment of this process but for some variables.
func without(names ...string) (rest []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		keep := true
		for _, n := range names {
			keep = keep && !strings.EqualFold(name, n)
		}
		if keep {
			rest = append(rest, variable)
		}
	}
	return rest
}

// TestHarshPlace runs the demo where its usual ports and those of the Functions
// host and of Azurite are taken, behind a proxy, with a home that cannot be
// written: the tenants are synced, the gallery and the console answer, and the
// proxy hears nothing.
func TestHarshPlace(t *testing.T) {
	app, root := t.TempDir(), projectRoot(t)
	must(t, stack.Build(t.Context(), app, ""))
	demo := filepath.Join(t.TempDir(), "demo")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", demo, "./sandbox/cmd/demo")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the demo: %v\n%s", err, out)
	}
	var taken []string
	for _, port := range []int{7071, 8400, 10000, 10001, 10002} {
		// Somebody else may have it already, and give it back at any time.
		if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer l.Close()
			taken = append(taken, l.Addr().String())
		}
	}
	var asked atomic.Int64
	proxy := loopback.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()

	cmd := exec.CommandContext(t.Context(), demo, "-app", app)
	cmd.Dir = root
	cmd.Env = append(without("HOME", "XDG_CACHE_HOME", "NO_PROXY", "DISPLAY", "WAYLAND_DISPLAY"),
		"HOME="+nowhere, "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "ALL_PROXY="+proxy.URL, "http_proxy="+proxy.URL)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	must(t, err)
	var problems strings.Builder
	cmd.Stderr = &problems
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	var said []string
	pages := map[string]string{}
	address := regexp.MustCompile(`(gallery|would show it|lets you in):  (http://\S+)`)
	for lines := bufio.NewScanner(out); len(pages) < 2 && lines.Scan(); {
		said = append(said, lines.Text())
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			pages[m[1]] = m[2]
		}
	}
	if len(pages) < 2 {
		_ = cmd.Wait()
		t.Fatalf("the demo ended early:\n%s\n%s", strings.Join(said, "\n"), problems.String())
	}
	for what, page := range pages {
		if slices.ContainsFunc(taken, func(address string) bool { return strings.Contains(page, address+"/") }) {
			t.Errorf("%s: the port of %s was taken", what, page)
		}
		res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(page)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode >= 400 {
			t.Errorf("%s answers %s", what, res.Status)
		}
	}
	if n := strings.Count(strings.Join(said, "\n"), "  Completed "); n < 3 {
		t.Errorf("only %d tenants were synced:\n%s", n, strings.Join(said, "\n"))
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the proxy was asked %d times", n)
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ends with %v:\n%s", err, problems.String())
	}
}

func projectRoot(t *testing.T) string {
	t.Helper()
	root, err := azurite.ModuleRoot()
	must(t, err)
	return root
}

// TestHomeThatCannotBeWritten: make lets Go and npm write into the project. (npm
// itself hangs without a home.) It asks make and not Go, which leaves a process
// behind that writes into the home later.
func TestHomeThatCannotBeWritten(t *testing.T) {
	root := projectRoot(t)
	file := filepath.Join(t.TempDir(), "Makefile")
	text := "include " + filepath.Join(root, "Makefile") + "\nwhere:\n\t@echo $$HOME\n"
	must(t, os.WriteFile(file, []byte(text), 0o600))
	for home, inside := range map[string]bool{nowhere: true, t.TempDir(): false} {
		cmd := exec.CommandContext(t.Context(), "make", "-s", "-C", root, "-f", file, "where")
		cmd.Env = append(without("HOME", "XDG_CACHE_HOME", "GOCACHE", "GOMODCACHE", "GOPATH", "GOENV"), "HOME="+home)
		out, err := cmd.Output()
		must(t, err)
		for _, folder := range strings.Fields(string(out)) {
			if strings.HasPrefix(folder, filepath.Join(root, ".home")) != inside {
				t.Errorf("with the home %s something is kept in %s", home, folder)
			}
		}
	}
}

// TestCoreToolsBehindProxy: the host of Core Tools is told which calls no proxy
// is for, and what it was told before still holds.
func TestCoreToolsBehindProxy(t *testing.T) {
	bin, told := t.TempDir(), filepath.Join(t.TempDir(), "told")
	must(t, os.WriteFile(filepath.Join(bin, "func"), []byte("#!/bin/sh\nenv > "+told+"\nexit 1\n"), 0o700))
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("NO_PROXY", "contoso.example")
	t.Setenv("no_proxy", "")
	if _, _, err := startCoreTools(t.Context(), map[string]string{"NINJAONE_ENDPOINT": "http://127.3.4.5:1", "CIPP_STORAGE": "BlobEndpoint=http://127.6.7.8:2/a;"}, t.TempDir()); err == nil || !strings.Contains(err.Error(), "ended before") {
		t.Fatalf("the error is %v", err)
	}
	env, err := os.ReadFile(told)
	must(t, err)
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		_, list, _ := strings.Cut(string(env), "\n"+name+"=")
		list, _, _ = strings.Cut(list, "\n")
		hosts := "," + list + ","
		for _, want := range []string{"127.3.4.5", "127.6.7.8", "localhost", "127.0.0.1", "contoso.example"} {
			if !strings.Contains(hosts, ","+want+",") {
				t.Errorf("%s is %s, without %s", name, list, want)
			}
		}
	}
}

var must = fail.If
