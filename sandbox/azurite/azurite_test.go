package azurite_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/fail"
)

const childVariable = "AZURITE_TEST_CHILD"

// TestMain lets the test binary play the parent process that dies without
// stopping the emulator.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	a, err := azurite.Start(context.Background())
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(a.BlobEndpoint() + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

func TestEmulatorEndsWithItsParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	address := make([]byte, 256)
	n, err := stdout.Read(address)
	if err != nil {
		t.Fatalf("the parent process printed no address: %v\n%s", err, stderr.String())
	}
	url := strings.TrimSpace(string(address[:n]))
	if res, err := http.Get(url); err != nil {
		t.Fatalf("the emulator does not answer: %v", err)
	} else {
		res.Body.Close()
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	// Requests are answered until the orphan has noticed; then none is.
	for {
		res, err := http.Get(url)
		if err != nil {
			return
		}
		res.Body.Close()
	}
}

var must = fail.If
