// Package azurite starts Azurite, the storage emulator pinned in
// sandbox/package.json, as a child process for tests and for the demo.
//
// Only the starting and stopping of that process belongs here. Storage clients,
// seed data and anything that imports testing stay outside; the helper for
// tests is in the package azuritetest.
package azurite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"cipp-ninjaone/sandbox/loopback"
)

// AccountName and AccountKey are the emulator's built-in account. Both are
// published with every copy of the emulator and protect nothing.
const (
	AccountName = "devstoreaccount1"
	AccountKey  = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

const (
	startTimeout = 5 * time.Minute
	stopTimeout  = time.Minute

	// By default the emulator drops idle connections after 5 seconds. A client notices
	// that only at its next request.
	keepAliveSeconds = "3600"
)

var listening = regexp.MustCompile(`Azurite (Blob|Queue|Table) service is successfully listening at (http://\S+)`)

// Azurite is one running emulator, seen as one storage account. Its blob, queue and table
// services listen on free ports of a loopback address of its own.
type Azurite struct {
	*process
	account string
}

// process is the emulator's process, which several accounts share.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	urls   map[string]string // by service: Blob, Queue, Table; without an account
	output *tail
	exited chan struct{}
	stop   sync.Once
}

// Start starts the emulator and returns once all three services listen. The process ends
// with Stop, when ctx is done, or when the calling process ends. It keeps its data in
// memory only. `make sandbox/node_modules` installs the emulator.
func Start(ctx context.Context) (*Azurite, error) {
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	sandbox := filepath.Join(root, "sandbox")
	script := filepath.Join(sandbox, "node_modules", "azurite", "dist", "src", "azurite.js")
	if !exists(script) {
		return nil, errors.New("the storage emulator is not installed: run make sandbox/node_modules once")
	}
	// Node.js wants the URL of a module there, and an absolute one.
	preload, err := filepath.Abs(filepath.Join(sandbox, "azurite", "preload.mjs"))
	if err != nil {
		return nil, fmt.Errorf("finding what is loaded into the emulator: %w", err)
	}
	host := loopback.Host()
	args := []string{"--import", (&url.URL{Scheme: "file", Path: filepath.ToSlash(preload)}).String(), script,
		"--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence",
		"--blobHost", host, "--queueHost", host, "--tableHost", host,
		"--blobPort", "0", "--queuePort", "0", "--tablePort", "0",
		"--blobKeepAliveTimeout", keepAliveSeconds,
		"--queueKeepAliveTimeout", keepAliveSeconds,
		"--tableKeepAliveTimeout", keepAliveSeconds,
	}
	return launch(ctx, sandbox, args)
}

func launch(ctx context.Context, dir string, args []string) (*Azurite, error) {
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = dir
	a := &Azurite{account: AccountName, process: &process{cmd: cmd, urls: map[string]string{}, output: &tail{}, exited: make(chan struct{})}}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("connecting to the emulator's standard input: %w", err)
	}
	a.stdin = stdin
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the storage emulator (Node.js 20 or later must be on the PATH): %w", err)
	}
	ready := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		a.readOutput(reader, ready)
	}()
	go func() {
		_ = cmd.Wait() // The reason is in the output; that the process ended is all that matters.
		_ = writer.Close()
		<-read
		close(a.exited)
	}()

	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-ready:
		return a, nil
	case <-a.exited:
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("starting the storage emulator: %w", err)
		}
		return nil, fmt.Errorf("the storage emulator ended while it started; its last output was:\n%s", a.output)
	case <-timeout.C:
		a.Stop()
		return nil, fmt.Errorf("the storage emulator did not listen within %s; its last output was:\n%s", startTimeout, a.output)
	}
}

// readOutput collects the addresses the services print and closes ready when
// all three are known. It reads on until the process ends.
func (a *process) readOutput(r io.Reader, ready chan<- struct{}) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	found := 0
	for scanner.Scan() {
		line := scanner.Text()
		a.output.add(line)
		if m := listening.FindStringSubmatch(line); m != nil && found < 3 {
			a.urls[m[1]] = m[2]
			if found = len(a.urls); found == 3 {
				close(ready)
			}
		}
	}
	_, _ = io.Copy(io.Discard, r) // After a line that is too long, the rest must still be read.
}

// Apart returns the same emulator with another account, empty and with nothing
// in common with any other. Its key is AccountKey too.
func (a *Azurite) Apart() *Azurite {
	return &Azurite{process: a.process, account: fmt.Sprintf("sandbox%016d", rand.Uint64N(1e16))}
}

// ConnectionString returns a storage connection string with every endpoint
// spelled out, as the Azure SDK for Go needs it.
func (a *Azurite) ConnectionString() string {
	return "DefaultEndpointsProtocol=http;AccountName=" + a.account + ";AccountKey=" + AccountKey +
		";BlobEndpoint=" + a.BlobEndpoint() + ";QueueEndpoint=" + a.QueueEndpoint() + ";TableEndpoint=" + a.TableEndpoint() + ";"
}

// BlobEndpoint returns the blob service's URL, account included.
func (a *Azurite) BlobEndpoint() string { return a.urls["Blob"] + "/" + a.account }

// QueueEndpoint returns the queue service's URL, account included.
func (a *Azurite) QueueEndpoint() string { return a.urls["Queue"] + "/" + a.account }

// TableEndpoint returns the table service's URL, account included.
func (a *Azurite) TableEndpoint() string { return a.urls["Table"] + "/" + a.account }

// Stop ends the emulator with all its accounts, lets it write its data first, and waits until it is
// gone. Calling it again does nothing.
func (a *process) Stop() {
	a.stop.Do(func() {
		_ = a.stdin.Close()
		timeout := time.NewTimer(stopTimeout)
		defer timeout.Stop()
		select {
		case <-a.exited:
		case <-timeout.C:
			_ = a.cmd.Process.Kill()
		}
	})
	<-a.exited
}

// ModuleRoot walks upwards from the current folder to the one that holds go.mod
// and the sandbox's package.json, below which the emulator is installed.
func ModuleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the module root: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, "go.mod")) && exists(filepath.Join(dir, "sandbox", "package.json")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no folder from here upwards holds go.mod and sandbox/package.json: run this inside the project")
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tail keeps the last lines of the emulator's output for error messages.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > 20 {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
