// Command bundle builds what is deployed, whatever machine it runs on. That is the zip of
// the app root for Linux on amd64, with its checksum and software bill of materials. The
// same source and version give the same bytes on any machine.
//
// Only what makes the bundle belongs here: nothing of the handler, and nothing
// that knows what the handler does.
package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The files that the bundle consists of.
const (
	zipName      = "cipp-ninjaone.zip"
	checksumName = zipName + ".sha256"
	sbomName     = "cipp-ninjaone.cdx.json"
)

// deployed is the platform of the Functions hosts.
const deployed = "linux/amd64"

// sbomTool reads the modules out of the built handler, offline but for its own
// download.
const sbomTool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// written is the time of every file in the zip, the first that the format can hold. The
// time of the build would make each zip another.
var written = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func main() {
	root := flag.String("root", ".", "the module's root folder")
	out := flag.String("out", "out", "the folder to write to")
	version := flag.String("version", "", "what 'handler version' prints")
	platform := flag.String("platform", deployed, "the platform that the handler is built for")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := sameToolchain(*root)
	if err == nil {
		err = bundle(ctx, *root, *out, *version, *platform)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
	for _, name := range []string{zipName, checksumName, sbomName} {
		fmt.Println(filepath.Join(*out, name))
	}
}

// sameToolchain sees to it that compiler and compressor are the ones that
// go.mod names, since others would write other bytes.
func sameToolchain(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	m := goLine.FindSubmatch(text)
	if m == nil {
		return fmt.Errorf("%s names no exact Go version", filepath.Join(root, "go.mod"))
	}
	if want := "go" + string(m[1]); runtime.Version() != want {
		return fmt.Errorf("this is %s: set GOTOOLCHAIN=%s, so that the same source gives the same bytes", runtime.Version(), want)
	}
	return nil
}

var goLine = regexp.MustCompile(`(?m)^go (\d+\.\d+\.\d+)\r?$`)

// versionForm is what a linker flag can carry without quoting.
var versionForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]*$`)

// bundle writes the three files to the folder out.
func bundle(ctx context.Context, root, out, version, platform string) error {
	if !versionForm.MatchString(version) {
		return fmt.Errorf("the version %q is none: use letters, digits and . + _ -", version)
	}
	work, err := os.MkdirTemp("", "cipp-ninjaone-bundle-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	handler := filepath.Join(work, "handler")
	if err := compile(ctx, root, handler, version, platform); err != nil {
		return err
	}
	archive, err := pack(root, handler)
	if err != nil {
		return err
	}
	sbom, err := materials(ctx, work, handler, version)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	// The form that `sha256sum -c` and `shasum -c` read.
	checksum := fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(archive), zipName)
	for name, content := range map[string][]byte{zipName: archive, checksumName: checksum, sbomName: sbom} {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func compile(ctx context.Context, root, handler, version, platform string) error {
	system, processor, ok := strings.Cut(platform, "/")
	if !ok {
		return fmt.Errorf("the platform %q is none: it looks like %s", platform, deployed)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w -X main.version="+version, "-o", handler, "./handler")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+processor, "GOAMD64=v1", "CGO_ENABLED=0",
		"GOFLAGS=-trimpath -buildvcs=false", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the handler: %w\n%s", err, bytes.TrimSpace(text))
	}
	return nil
}

// pack zips the app root. What goes in is listed here and nowhere else, so
// that no local file, and no secret in one, can.
func pack(root, handler string) ([]byte, error) {
	files := map[string]string{"handler": handler, "host.json": filepath.Join(root, "host.json")}
	functions, err := filepath.Glob(filepath.Join(root, "functions", "*", "function.json"))
	if err != nil {
		return nil, err
	}
	if len(functions) == 0 {
		return nil, fmt.Errorf("%s holds no function", filepath.Join(root, "functions"))
	}
	for _, file := range functions {
		files[path.Join(filepath.Base(filepath.Dir(file)), "function.json")] = file
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, name := range names {
		content, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		mode := fs.FileMode(0o644)
		if name == "handler" {
			mode = 0o755
		} else {
			// A checkout on Windows may have put other line ends.
			content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: written}
		header.SetMode(mode)
		entry, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}

// materials lists the handler's modules in the form of CycloneDX. Nothing in it differs
// from one build to the next.
func materials(ctx context.Context, work, handler, version string) ([]byte, error) {
	run := exec.CommandContext(ctx, "go", "run", sbomTool, "bin", "-json", "-std", "-noserial", "-notimestamp", "-version", version, handler)
	run.Dir = work // no module of ours decides which tool that is
	run.Env = append(os.Environ(), "GOOS=", "GOARCH=", "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	var problems bytes.Buffer
	run.Stderr = &problems
	text, err := run.Output()
	if err != nil {
		return nil, fmt.Errorf("list the modules of the handler: %w\n%s", err, bytes.TrimSpace(problems.Bytes()))
	}
	return withoutTool(text)
}

// withoutTool drops the checksums of the tool's own executable, which is
// another one on each kind of machine.
func withoutTool(sbom []byte) ([]byte, error) {
	var document map[string]any
	if err := json.Unmarshal(sbom, &document); err != nil {
		return nil, fmt.Errorf("read the bill of materials: %w", err)
	}
	if metadata, ok := document["metadata"].(map[string]any); ok {
		if tools, ok := metadata["tools"].([]any); ok {
			for _, tool := range tools {
				if t, ok := tool.(map[string]any); ok {
					delete(t, "hashes")
				}
			}
		}
	}
	text, err := json.MarshalIndent(document, "", "  ")
	return append(text, '\n'), err
}
