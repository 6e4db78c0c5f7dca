package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const moduleRoot = "../.."

// checkout copies what the bundle is built from into a folder of its own, at
// another time, with local files beside it that must not be deployed.
func checkout(t *testing.T, name string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), name)
	for _, dir := range []string{"handler", "functions"} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(filepath.Join(moduleRoot, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum", "host.json"} {
		content, err := os.ReadFile(filepath.Join(moduleRoot, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"local.settings.json", "functions/local.settings.json", "functions/SyncTenant/.env", "functions/notes.txt"} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(name+" keeps its secret here"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func build(t *testing.T, name string) (out string) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "out")
	if err := bundle(t.Context(), checkout(t, name), out, "v1.2.3-4-gabcdef123456", deployed); err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestBundle(t *testing.T) {
	first, second := build(t, "here"), build(t, "elsewhere")
	t.Run("the same source gives the same bytes", func(t *testing.T) {
		for _, name := range []string{zipName, checksumName, sbomName} {
			if !bytes.Equal(read(t, first, name), read(t, second, name)) {
				t.Errorf("%s differs between two folders", name)
			}
		}
	})
	t.Run("the checksum is the zip's", func(t *testing.T) {
		want := fmt.Sprintf("%x  %s\n", sha256.Sum256(read(t, first, zipName)), zipName)
		if got := string(read(t, first, checksumName)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("contents", func(t *testing.T) { checkContents(t, read(t, first, zipName)) })
	t.Run("bill of materials", func(t *testing.T) { checkMaterials(t, read(t, first, sbomName)) })
}

// checkContents holds the zip against what the Functions host expects: host.json
// at the root, a folder per function at the first level, and an executable.
func checkContents(t *testing.T, archive []byte) {
	want := []string{"handler", "host.json"}
	functions, err := filepath.Glob(filepath.Join(moduleRoot, "functions", "*", "function.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range functions {
		want = append(want, filepath.Base(filepath.Dir(file))+"/function.json")
	}
	slices.Sort(want)
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.File {
		got = append(got, f.Name)
		mode := fs.FileMode(0o644)
		if f.Name == "handler" {
			mode = 0o755
		}
		if f.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", f.Name, f.Mode(), mode)
		}
		if !f.Modified.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s has the time %v", f.Name, f.Modified)
		}
		content, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("keeps its secret here")) {
			t.Errorf("%s holds a local file", f.Name)
		}
		if f.Name != "handler" {
			if !json.Valid(text) {
				t.Errorf("%s is not JSON", f.Name)
			}
			continue
		}
		if bytes.Contains(text, []byte("cipp-ninjaone-bundle-")) || bytes.Contains(text, []byte(t.TempDir())) {
			t.Error("the handler holds a path of the machine that built it")
		}
		info, err := buildinfo.Read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if settings["GOOS"] != "linux" || settings["GOARCH"] != "amd64" || settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" {
			t.Errorf("the handler is built with %v", settings)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the zip holds %v, want %v", got, want)
	}
}

func checkMaterials(t *testing.T, text []byte) {
	var sbom struct {
		BOMFormat    string
		SerialNumber *string
		Metadata     struct {
			Timestamp *string
			Tools     []map[string]any
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(text, &sbom); err != nil {
		t.Fatal(err)
	}
	if sbom.BOMFormat != "CycloneDX" || sbom.SerialNumber != nil || sbom.Metadata.Timestamp != nil || sbom.Metadata.Component.Version != "v1.2.3-4-gabcdef123456" {
		t.Errorf("head of the bill: %s, serial %v, time %v, component %+v", sbom.BOMFormat, sbom.SerialNumber, sbom.Metadata.Timestamp, sbom.Metadata.Component)
	}
	for _, tool := range sbom.Metadata.Tools {
		if tool["hashes"] != nil {
			t.Error("the bill holds the checksum of the tool's executable, which is another one on each kind of machine")
		}
	}
	var names []string
	for _, c := range sbom.Components {
		if c.Version == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") {
			t.Errorf("%s has version %q and address %q", c.Name, c.Version, c.PURL)
		}
		names = append(names, c.Name)
	}
	for _, name := range []string{"std", "github.com/microsoftgraph/msgraph-sdk-go", "github.com/Azure/azure-sdk-for-go/sdk/data/aztables"} {
		if !slices.Contains(names, name) {
			t.Errorf("the bill lacks %s", name)
		}
	}
	if slices.Contains(names, "github.com/chromedp/chromedp") {
		t.Error("the bill lists what only the tests use")
	}
}

func TestRefused(t *testing.T) {
	for _, version := range []string{"", "v1 -X main.x=y", "v1'", "-v1"} {
		if err := bundle(t.Context(), moduleRoot, t.TempDir(), version, deployed); err == nil || !strings.Contains(err.Error(), "version") {
			t.Errorf("version %q: %v", version, err)
		}
	}
	if err := bundle(t.Context(), moduleRoot, t.TempDir(), "v1", "linux"); err == nil || !strings.Contains(err.Error(), "platform") {
		t.Errorf("the platform without a processor: %v", err)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module m\n\ngo 1.26.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sameToolchain(root); err == nil || !strings.Contains(err.Error(), "GOTOOLCHAIN=go1.26.0") {
		t.Errorf("another toolchain: %v", err)
	}
}
