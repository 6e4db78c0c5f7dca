package pacing

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// What the test tells the processes that it starts.
const (
	envName       = "PACING_TEST_PROCESS" // set: this is one of them
	envConnection = "PACING_TEST_CONNECTION"
	envContainer  = "PACING_TEST_CONTAINER"
	envNinjaOne   = "PACING_TEST_NINJAONE"
)

const (
	processRate  = 20.0
	processSlots = 4
)

// TestMain makes the test binary a process of the handler, as far as pacing
// goes, when the test asks for one.
func TestMain(m *testing.M) {
	if name := os.Getenv(envName); name != "" {
		if err := child(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child makes as many calls as it may until its standard input ends. It writes
// each new rate to its standard output.
func child(name string) error {
	blobs, rows, err := openContainer(os.Getenv(envConnection), os.Getenv(envContainer))
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	calls := ninjaonetest.Deps(os.Getenv(envNinjaOne), ninjaonetest.Secret("invented"))
	calls.Rate = processRate
	pool := ninjaone.NewPool(calls)
	pace := NewPace(PaceDeps{Rows: rows, Limits: Limits{processRate, processRate}, Hold: func(time.Time) {}, Now: time.Now, Log: quiet})
	pace.Watch("eu.ninjarmm.com")
	pacer := New(Config{
		Board: pace, Blobs: blobs, Lane: Lane{"sync", processSlots, processRate}, Logger: quiet,
		SetRate: func(rate float64) {
			pool.SetRate(rate)
			fmt.Println(rate)
		},
	})
	pacer.poll, pacer.duration = 3*shortPoll, 15*time.Second
	client, err := pool.Client("eu.ninjarmm.com", name)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	var runs sync.WaitGroup
	for range 2 { // invocations at once
		runs.Go(func() {
			for ctx.Err() == nil {
				if slot, err := pacer.Acquire(ctx, time.Minute); err == nil {
					run(slot.Context(), client)
					slot.Release()
				}
			}
		})
	}
	runs.Wait()
	// The slots come free behind the last run; a process that ended now would
	// keep them until the leases end.
	for pacer.busy() {
		<-time.After(shortPoll)
	}
	return nil
}

// busy reports whether the manager is at work.
func (p *Pacer) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.managing
}

// run is one sync: 30 calls, several at once.
func run(ctx context.Context, client *ninjaone.Client) {
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() {
			for range 10 {
				if ctx.Err() == nil {
					_, _ = client.Organization(ctx, 1)
				}
			}
		})
	}
	calls.Wait()
}

// counter is a NinjaOne that notes when calls come, and from which process.
type counter struct {
	mu    sync.Mutex
	at    []time.Time
	by    map[string]int
	moved chan struct{}
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var process string
	if r.URL.Path == "/ws/oauth/token" {
		process = r.PostFormValue("client_id")
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, process)
	} else {
		process = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		_, _ = io.WriteString(w, `{"id":1,"name":"Contoso"}`)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
	c.by[process]++
	close(c.moved)
	c.moved = make(chan struct{})
}

// await waits until each of the processes has made n further calls.
func (c *counter) await(t *testing.T, n int, processes ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c.mu.Lock()
	goal := map[string]int{}
	for _, process := range processes {
		goal[process] = c.by[process] + n
	}
	c.mu.Unlock()
	for {
		c.mu.Lock()
		reached, moved := true, c.moved
		for process, want := range goal {
			reached = reached && c.by[process] >= want
		}
		c.mu.Unlock()
		if reached {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			t.Fatalf("processes %v do not get on: %v", processes, c.by)
		}
	}
}

// started is a process that the test has started.
type started struct {
	cmd   *exec.Cmd
	stdin io.Closer
	rates chan float64 // as the process tells them; closed when it has ended
}

func start(t *testing.T, name, container, ninjaOne string) *started {
	t.Helper()
	binary, err := os.Executable()
	must(t, err)
	s := &started{cmd: exec.Command(binary), rates: make(chan float64, 10_000)}
	s.cmd.Env = append(os.Environ(), envName+"="+name, envContainer+"="+container, envNinjaOne+"="+ninjaOne,
		envConnection+"="+azuritetest.ForTest(t).ConnectionString())
	s.cmd.Stderr = t.Output()
	stdin, err := s.cmd.StdinPipe()
	must(t, err)
	s.stdin = stdin
	stdout, err := s.cmd.StdoutPipe()
	must(t, err)
	must(t, s.cmd.Start())
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	go func() {
		defer close(s.rates)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if rate, err := strconv.ParseFloat(lines.Text(), 64); err == nil {
				s.rates <- rate
			}
		}
	}()
	return s
}

// finish ends the process in good order.
func (s *started) finish(t *testing.T) {
	t.Helper()
	if err := s.stdin.Close(); err != nil {
		t.Error(err)
	}
	for range s.rates {
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("a process ended badly: %v", err)
	}
}

// TestProcesses lets three processes make as many calls as they can, kills one
// of them, and counts: over any stretch of time, the calls that came are no
// more than the rate allows.
func TestProcesses(t *testing.T) {
	c := &counter{by: map[string]int{}, moved: make(chan struct{})}
	server := httptest.NewServer(c)
	defer server.Close()
	container := azuritetest.UniqueName(t)
	one := start(t, "one", container, server.URL)
	two := start(t, "two", container, server.URL)
	three := start(t, "three", container, server.URL)
	c.await(t, 40, "one", "two", "three")
	must(t, one.cmd.Process.Kill())
	for range one.rates {
	}
	_ = one.cmd.Wait() // killed
	c.await(t, 20, "two", "three")
	two.finish(t)
	// The slots of the one that was killed come back when their leases end.
	for rate := range three.rates {
		if rate == processRate && len(three.rates) == 0 {
			break
		}
	}
	c.await(t, 40, "three")
	three.finish(t)

	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d calls in %s: %v", len(c.at), c.at[len(c.at)-1].Sub(c.at[0]).Round(time.Second), c.by)
	// The limiter of each process may have saved up 5 calls. The rest is for
	// calls that are started in time and noted late.
	const spare = processSlots*5 + processRate
	for i, from := range c.at {
		for j, to := range c.at[i:] {
			if allowed := processRate*to.Sub(from).Seconds() + spare; float64(j+1) > allowed {
				t.Fatalf("%d calls within %s, more than %g", j+1, to.Sub(from), allowed)
			}
		}
	}
}
