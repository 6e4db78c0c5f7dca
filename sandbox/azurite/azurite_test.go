package azurite_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

const childVariable = "AZURITE_TEST_CHILD"

// TestMain lets the test binary play the parent process that dies without
// stopping the emulator.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	a, err := azurite.Start(context.Background(), azurite.Options{})
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(a.BlobEndpoint() + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

func TestServicesAnswer(t *testing.T) {
	ctx := t.Context()
	a := azuritetest.ForTest(t)
	name := azuritetest.UniqueName(t)

	blobs, err := azblob.NewClientFromConnectionString(a.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.CreateContainer(ctx, name, nil); err != nil {
		t.Errorf("creating a container: %v", err)
	}
	queues, err := azqueue.NewServiceClientFromConnectionString(a.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queues.CreateQueue(ctx, name, nil); err != nil {
		t.Errorf("creating a queue: %v", err)
	}
	tables, err := aztables.NewServiceClientFromConnectionString(a.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tables.CreateTable(ctx, name, nil); err != nil {
		t.Errorf("creating a table: %v", err)
	}
}

func TestForTestSharesOneProcess(t *testing.T) {
	if first, second := azuritetest.ForTest(t), azuritetest.ForTest(t); first != second {
		t.Error("two calls gave two emulators")
	}
	if first, second := azuritetest.UniqueName(t), azuritetest.UniqueName(t); first == second {
		t.Errorf("UniqueName gave %q twice", first)
	}
}

func TestDataFolderOutlivesTheProcess(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	content := []byte("kept")

	a := start(t, azurite.Options{Dir: dir})
	blobs, err := azblob.NewClientFromConnectionString(a.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.CreateContainer(ctx, "kept", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.UploadBuffer(ctx, "kept", "blob", content, nil); err != nil {
		t.Fatal(err)
	}
	a.Stop()

	a = start(t, azurite.Options{Dir: dir})
	if blobs, err = azblob.NewClientFromConnectionString(a.ConnectionString(), nil); err != nil {
		t.Fatal(err)
	}
	got, err := blobs.DownloadStream(ctx, "kept", "blob", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, content) {
		t.Errorf("blob = %q, want %q", body, content)
	}
}

func TestStopEndsTheProcess(t *testing.T) {
	a := start(t, azurite.Options{})
	a.Stop()
	a.Stop()
	<-a.Done()
	assertGone(t, a.BlobEndpoint())
}

func TestContextEndsTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, err := azurite.Start(ctx, azurite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-a.Done()
	assertGone(t, a.BlobEndpoint())
}

func TestEmulatorEndsWithItsParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
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
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
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

func TestErrorsNameTheCause(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	_, err := azurite.Start(t.Context(), azurite.Options{})
	if err == nil || !strings.Contains(err.Error(), "sandbox/package.json") {
		t.Errorf("outside the source tree: error = %v, want one that names sandbox/package.json", err)
	}
}

func start(t *testing.T, opts azurite.Options) *azurite.Azurite {
	t.Helper()
	a, err := azurite.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}

func assertGone(t *testing.T, url string) {
	t.Helper()
	if res, err := http.Get(url); err == nil {
		res.Body.Close()
		t.Errorf("%s still answers", url)
	}
}
