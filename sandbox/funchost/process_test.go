package funchost

import (
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manual is a function that runs only when it is invoked.
var manual = map[string]string{"Manual": timerFunction("0 0 0 1 1 *")}

// TestSurroundings: the handler gets the settings, and its port and id under two names
// each. Its standard error is a warning where it says so, and an error else.
func TestSurroundings(t *testing.T) {
	w := &worker{appRoot: "/app", settings: map[string]string{"APP_NAME": "Adatum North"}}
	got := w.environment(&process{id: "one", port: 7})
	slices.Sort(got)
	want := []string{"APP_NAME=Adatum North", "FUNCTIONS_APP_ROOT_PATH=/app", "FUNCTIONS_CUSTOMHANDLER_PORT=7",
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID=one", "FUNCTIONS_HTTPWORKER_ID=one", "FUNCTIONS_HTTPWORKER_PORT=7"}
	if !slices.Equal(got, want) {
		t.Errorf("environment = %q", got)
	}
	for line, want := range map[string]slog.Level{"bad news": slog.LevelError, "level=WARNING mind the gap": slog.LevelWarn} {
		if level := stderrLevel(line); level != want {
			t.Errorf("level of %q = %v", line, level)
		}
	}
}

// exiting is a director that makes the handler exit with a code once per value.
func exiting(codes chan int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case code := <-codes:
			w.Header().Set(exitHeader, strconv.Itoa(code))
		default:
		}
		succeed(w, r)
	}
}

func TestExitZeroIsLeftDead(t *testing.T) {
	codes := make(chan int, 1)
	a := newApp(t, "", manual, exiting(codes))
	h := a.start(a.config())
	codes <- 0
	for range 2 {
		if err := h.Invoke(t.Context(), "Manual", ""); err == nil {
			t.Error("an invocation of a dead handler succeeded")
		}
	}
	h.Stop()
	if err := h.worker.err(); err != nil {
		t.Errorf("the host stopped by itself: %v", err)
	}
}

// invokeUntilReady repeats an invocation that may meet the end of a process.
func invokeUntilReady(t *testing.T, h *Host) {
	t.Helper()
	for h.Invoke(t.Context(), "Manual", "") != nil {
		must(t, h.worker.err())
	}
}

func TestExit200IsARestart(t *testing.T) {
	codes := make(chan int, 1)
	a := newApp(t, "", manual, exiting(codes))
	h := a.start(a.config())
	for range maxStrikes + 1 {
		codes <- exitRestart
		if err := h.Invoke(t.Context(), "Manual", ""); err == nil {
			t.Error("an invocation succeeded in a process that ended")
		}
		invokeUntilReady(t, h)
	}
}

func TestThreeFailuresStopTheHost(t *testing.T) {
	codes := make(chan int, 1)
	a := newApp(t, "", manual, exiting(codes))
	h := a.start(a.config())
	for n := range maxStrikes {
		codes <- 1
		if err := h.Invoke(t.Context(), "Manual", ""); err == nil {
			t.Error("an invocation succeeded in a process that ended")
		}
		if n < maxStrikes-1 {
			invokeUntilReady(t, h)
		}
	}
	<-h.done
	if err := h.worker.err(); err == nil || !strings.Contains(err.Error(), "3 times") {
		t.Errorf("the host stopped for %v, want the three failures", err)
	}
}

func TestHandlerThatDoesNotStart(t *testing.T) {
	for name, test := range map[string]struct{ start, want string }{
		"exits":                   {"3", "cannot go on"},
		"does not listen in time": {"deaf", "FUNCTIONS_CUSTOMHANDLER_PORT"},
		"exits with zero":         {"0", "FUNCTIONS_CUSTOMHANDLER_PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, `"customHandler": {"initializationTimeout": "00:00:00.5"}`, manual, succeed)
			a.settings["FUNCHOST_TEST_START"] = test.start
			h, err := Start(t.Context(), a.config())
			if err == nil {
				h.Stop()
				t.Fatal("the host started")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want one with %q", err, test.want)
			}
		})
	}
	a := newApp(t, "", manual, succeed)
	a.write("plain", "#!/bin/sh\n")
	a.settings["AzureFunctionsJobHost__customHandler__description__defaultExecutablePath"] = "plain"
	if h, err := Start(t.Context(), a.config()); err == nil || !strings.Contains(err.Error(), "permission") || strings.Contains(err.Error(), "times") {
		if h != nil {
			h.Stop()
		}
		t.Errorf("error = %v, want one try that tells of the permission", err)
	}
	a.settings["AzureFunctionsJobHost__customHandler__description__defaultExecutablePath"] = "no-such-program"
	if h, err := Start(t.Context(), a.config()); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		if h != nil {
			h.Stop()
		}
		t.Errorf("error = %v, want one that names the program", err)
	}
}

func TestTimeoutEndsEverythingInFlight(t *testing.T) {
	for name, body := range map[string]string{"empty body": "", "null": "null"} {
		t.Run(name, func(t *testing.T) {
			innocent := make(chan struct{})
			a := newApp(t, `"functionTimeout": "00:00:01"`, map[string]string{
				"Hangs": manual["Manual"], "Innocent": manual["Manual"], "Manual": manual["Manual"],
			}, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/Innocent":
					close(innocent)
					<-r.Context().Done()
				case "/Hangs":
					reply(w, body)
				default:
					succeed(w, r)
				}
			})
			h := a.start(a.config())
			hangs := make(chan error)
			go func() { hangs <- h.Invoke(t.Context(), "Hangs", "") }()
			other := make(chan error)
			go func() { other <- h.Invoke(t.Context(), "Innocent", "") }()
			<-innocent
			if err := <-hangs; err == nil {
				t.Error("the invocation without an answer succeeded")
			}
			if err := <-other; err == nil {
				t.Error("the other invocation survived the timeout")
			}
			invokeUntilReady(t, h)
		})
	}
}

func TestStopKillsWithoutASignalToCatch(t *testing.T) {
	arrived := make(chan struct{})
	a := newApp(t, "", manual, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	config := a.config()
	config.ShutdownWait = time.Millisecond
	h := a.start(config)
	failed := make(chan error)
	go func() { failed <- h.Invoke(t.Context(), "Manual", "") }()
	<-arrived
	h.worker.mu.Lock()
	p := h.worker.current
	h.worker.mu.Unlock()
	h.Stop()
	if err := <-failed; err == nil {
		t.Error("an invocation outlived the host")
	}
	if state := p.cmd.ProcessState.String(); state != "signal: killed" {
		t.Errorf("the handler ended by %q, want a kill", state)
	}
}
