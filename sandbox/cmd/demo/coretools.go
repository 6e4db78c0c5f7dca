package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/sandbox/loopback"
)

// startTimeout is how long Core Tools may take to start the bundle; the first
// start downloads the extension bundle.
const startTimeout = 3 * time.Minute

// startCoreTools runs the bundle with `func start` of Azure Functions Core
// Tools, which must be on the PATH. It returns how to run a function, and the
// host's address.
func startCoreTools(ctx context.Context, settings map[string]string, appRoot string) (trigger, string, error) {
	path, err := exec.LookPath("func")
	if err != nil {
		return nil, "", fmt.Errorf("the Azure Functions Core Tools are not on the PATH: install them, or run the demo without HOST=func")
	}
	port, release, err := loopback.Reserve(0)
	if err != nil {
		return nil, "", err
	}
	defer release()
	cmd := exec.CommandContext(ctx, path, "start", "--port", strconv.Itoa(port), "--custom")
	cmd.Dir = appRoot
	cmd.Env = append(os.Environ(), "FUNCTIONS_WORKER_RUNTIME=custom", "NINJAONE_RATE="+rate)
	for name, value := range settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, direct(settings)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start Azure Functions Core Tools: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := awaitHost(ctx, base, exited); err != nil {
		return nil, "", err
	}
	return func(ctx context.Context, function, input string) error {
		body, err := json.Marshal(map[string]string{"input": input})
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/admin/functions/"+function, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("run %s: %w", function, err)
		}
		defer res.Body.Close()
		if res.StatusCode/100 != 2 {
			return fmt.Errorf("run %s: the host answered %s", function, res.Status)
		}
		return nil
	}, base, nil
}

var loopbackAddress = regexp.MustCompile(`\b127(?:\.\d+){3}\b`)

// direct are the variables that keep calls within this machine away from a proxy. Unlike
// Go and Node.js, .NET sends them there too.
func direct(settings map[string]string) []string {
	hosts := []string{"localhost", "127.0.0.1"}
	for _, value := range settings {
		hosts = append(hosts, loopbackAddress.FindAllString(value, -1)...)
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	if set := cmp.Or(os.Getenv("no_proxy"), os.Getenv("NO_PROXY")); set != "" {
		hosts = append(hosts, set)
	}
	list := strings.Join(hosts, ",")
	return []string{"no_proxy=" + list, "NO_PROXY=" + list}
}

// awaitHost waits until the host says that it runs.
func awaitHost(ctx context.Context, base string, exited <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-exited:
			return fmt.Errorf("the Azure Functions Core Tools ended before the bundle ran: %v", err)
		case <-ctx.Done():
			return fmt.Errorf("the Azure Functions Core Tools did not start the bundle: %w", ctx.Err())
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/admin/host/status", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue // not listening yet
		}
		var status struct {
			State string `json:"state"`
		}
		err = json.NewDecoder(res.Body).Decode(&status)
		res.Body.Close()
		if err == nil && status.State == "Running" {
			return nil
		}
	}
}
