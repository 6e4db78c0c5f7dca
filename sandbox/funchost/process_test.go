package funchost

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manual is a function that runs only when it is invoked.
var manual = map[string]string{"Manual": timerFunction(`"schedule": "0 0 0 1 1 *", "useMonitor": false`)}

func TestHandlerSurroundings(t *testing.T) {
	info := make(chan string, 1)
	a := newApp(t, "", manual, func(w http.ResponseWriter, r *http.Request) {
		info <- r.Header.Get(infoHeader)
		succeed(w, r)
	})
	a.settings["APP_NAME"] = "Adatum North"
	h := a.start(a.config())
	must(t, h.Invoke(t.Context(), "Manual", ""))
	var got struct {
		Args      []string
		Directory string
		Env       []string
	}
	must(t, json.Unmarshal([]byte(<-info), &got))
	want, err := filepath.EvalSymlinks(a.root)
	must(t, err)
	if directory, err := filepath.EvalSymlinks(got.Directory); err != nil || directory != want || len(got.Args) != 0 {
		t.Errorf("directory = %s, %v, want %s; arguments %q", directory, err, want, got.Args)
	}
	env := mergeSettings(got.Env, nil)
	for name, want := range map[string]string{
		"APP_NAME": "Adatum North", "FUNCTIONS_WORKER_RUNTIME": "custom", "FUNCTIONS_APP_ROOT_PATH": a.root,
		"FUNCTIONS_HTTPWORKER_PORT": env["FUNCTIONS_CUSTOMHANDLER_PORT"], "FUNCTIONS_HTTPWORKER_ID": env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"],
		"WEBSITE_HOSTNAME": strings.TrimPrefix(h.URL(), "http://"),
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	if port, err := strconv.Atoi(env["FUNCTIONS_CUSTOMHANDLER_PORT"]); err != nil || port == 0 {
		t.Errorf("port = %q", env["FUNCTIONS_CUSTOMHANDLER_PORT"])
	}
	if env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"] == "" {
		t.Error("the worker has no ID")
	}
}

func TestOutputLevels(t *testing.T) {
	a := newApp(t, "", manual, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add(stdoutHeader, "an error on standard output")
		w.Header().Add(stderrHeader, "bad news")
		w.Header().Add(stderrHeader, "level=WARNING mind the gap")
		succeed(w, r)
	})
	h := a.start(a.config())
	must(t, h.Invoke(t.Context(), "Manual", ""))
	want := map[string]slog.Level{"an error on standard output": slog.LevelInfo, "bad news": slog.LevelError, "level=WARNING mind the gap": slog.LevelWarn}
	for len(want) > 0 {
		line := <-a.lines
		if level, ok := want[line.Text]; !ok || level != line.Level || line.Category != "Host.Function.Console" {
			t.Errorf("line = %+v", line)
		}
		delete(want, line.Text)
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
	if err := h.Wait(); err != nil {
		t.Errorf("Wait = %v", err)
	}
}

// invokeUntilReady repeats an invocation that may meet the end of a process.
func invokeUntilReady(t *testing.T, h *Host) {
	t.Helper()
	for h.Invoke(t.Context(), "Manual", "") != nil {
		must(t, h.worker.err())
	}
}

// TestRestartKeepsThePort: each process has an id of its own, on one port.
func TestRestartKeepsThePort(t *testing.T) {
	surroundings := make(chan map[string]string, 10)
	a := newApp(t, "", manual, func(w http.ResponseWriter, r *http.Request) {
		var info struct{ Env []string }
		if err := json.Unmarshal([]byte(r.Header.Get(infoHeader)), &info); err != nil {
			t.Error(err)
		}
		surroundings <- mergeSettings(info.Env, nil)
		succeed(w, r)
	})
	h := a.start(a.config())
	invokeUntilReady(t, h)
	h.Kill()
	invokeUntilReady(t, h)
	first, second := <-surroundings, <-surroundings
	if first["FUNCTIONS_CUSTOMHANDLER_PORT"] != second["FUNCTIONS_CUSTOMHANDLER_PORT"] || first["FUNCTIONS_HTTPWORKER_ID"] == second["FUNCTIONS_HTTPWORKER_ID"] {
		t.Errorf("port %s, then %s; id %s, then %s", first["FUNCTIONS_CUSTOMHANDLER_PORT"], second["FUNCTIONS_CUSTOMHANDLER_PORT"],
			first["FUNCTIONS_HTTPWORKER_ID"], second["FUNCTIONS_HTTPWORKER_ID"])
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
	if err := h.Wait(); err == nil || !strings.Contains(err.Error(), "3 times") {
		t.Errorf("Wait = %v, want the three failures", err)
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
