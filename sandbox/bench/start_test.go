package bench

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/loopback"
)

// starts is how often a start is measured; the median counts.
const starts = 5

// BenchmarkStart measures the time from starting the handler's process to its
// first answer, which is when the host calls it ready, and the size of its
// program, stripped as `make build` does.
func BenchmarkStart(b *testing.B) {
	program := filepath.Join(appRoot(b), "handler")
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for range starts {
		took = append(took, ready(b, program))
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[starts/2].Microseconds())/1000, "start-to-ready-ms")
	b.ReportMetric(float64(took[0].Microseconds())/1000, "fastest-ms")
	b.ReportMetric(float64(info.Size())/(1<<20), "program-MB")
}

// ready starts the program, waits for its first answer and ends it.
func ready(b *testing.B, program string) time.Duration {
	b.Helper()
	port, release, err := loopback.Reserve(0)
	if err != nil {
		b.Fatal(err)
	}
	defer release()
	cmd := exec.Command(program)
	cmd.Env = []string{"AzureWebJobsStorage=UseDevelopmentStorage=true", fmt.Sprintf("FUNCTIONS_CUSTOMHANDLER_PORT=%d", port)}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil {
			answer.Body.Close()
			return time.Since(begun)
		}
		select {
		case <-tick.C:
		case <-ended:
			b.Fatal("the handler ended before it answered: ", cmd.ProcessState)
		}
	}
}
