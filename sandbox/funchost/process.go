package funchost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/sandbox/loopback"
)

const (
	readinessInterval = 25 * time.Millisecond
	maxStrikes        = 3
	strikeMemory      = 30 * time.Minute
	exitRestart       = 200 // The exit code by which a handler asks for a restart.
	stderrKept        = 3
)

// worker keeps the handler process running, as the host does.
type worker struct {
	options  hostOptions
	appRoot  string
	settings map[string]string
	log      *slog.Logger
	emit     func(level slog.Level, line string)

	port    int    // The handler's, for as long as the host lives.
	release func() // Gives the port up.

	stopped chan struct{} // Closed by close.
	failed  chan struct{} // Closed when the host must stop itself.
	ended   chan struct{} // Closed when the supervision is over and no process runs.

	mu      sync.Mutex
	current *process
	isReady chan struct{} // Closed while current takes invocations.
	failure error
	closing bool
	strikes int
	last    time.Time // Of the last strike.
}

// process is one run of the handler.
type process struct {
	cmd    *exec.Cmd
	id     string
	port   int
	exited chan struct{}
	// transport keeps connections to this process, as the host does.
	transport *http.Transport

	mu         sync.Mutex
	deliberate bool // The host itself ended it.
	stderr     []string
}

func newWorker(options hostOptions, appRoot string, settings map[string]string, log *slog.Logger, emit func(slog.Level, string)) (*worker, error) {
	port, release, err := loopback.Reserve(0)
	if err != nil {
		return nil, err
	}
	return &worker{
		options: options, appRoot: appRoot, settings: settings, log: log, emit: emit, port: port, release: release,
		stopped: make(chan struct{}), failed: make(chan struct{}), ended: make(chan struct{}), isReady: make(chan struct{}),
	}, nil
}

// run starts the handler and restarts it until close is called or it has failed
// too often. Exit 0 leaves it dead, exit 200 restarts it, any other exit counts
// as an error.
func (w *worker) run() {
	defer close(w.ended)
	defer w.release()
	for {
		p, err := w.start()
		if err == nil {
			err = w.awaitReady(p)
		} else if p == nil && !w.isClosing() {
			// The host does not try again, says that it runs, and lets requests
			// hang. Nobody wants to wait for that here.
			w.fail(err)
			return
		}
		if p != nil {
			if err != nil {
				p.kill()
			} else {
				w.setReady()
				<-p.exited
				if code := p.cmd.ProcessState.ExitCode(); code == 0 && !p.isDeliberate() {
					w.log.Warn("the handler process ended with code 0; as on Azure, it is not started again and every invocation will fail")
					<-w.stopped
					return
				}
			}
			<-p.exited
		}
		if w.unsetReady() {
			return
		}
		if p != nil && (p.isDeliberate() || p.cmd.ProcessState.ExitCode() == exitRestart) {
			w.log.Info("restarting the handler process")
			continue
		}
		if err == nil {
			err = fmt.Errorf("the handler process ended (%s); its last lines on standard error: %s", p.cmd.ProcessState, p.lastErrors())
		}
		w.log.Error("the handler process failed", "error", err)
		if n := w.strike(); n >= maxStrikes {
			w.fail(fmt.Errorf("the handler process failed %d times, so the host stops: %w", n, err))
			return
		}
	}
}

// start starts one process; when the result is nil, there is an error.
func (w *worker) start() (*process, error) {
	p := &process{id: uuid.NewString(), port: w.port, exited: make(chan struct{}),
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute}}
	path := w.options.executable
	if !filepath.IsAbs(path) {
		path = filepath.Join(w.appRoot, path)
	}
	p.cmd = exec.Command(path)
	p.cmd.Dir = w.appRoot
	p.cmd.Env = w.environment(p)
	p.cmd.SysProcAttr = endWithHost()

	stdout, stdoutWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdoutWriter.Close()
	stderr, stderrWriter, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdout.Close())
	}
	defer stderrWriter.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdoutWriter, stderrWriter
	hangUp := func() { _ = errors.Join(stdout.Close(), stderr.Close()) }

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		return nil, errors.New("the host is stopping")
	}
	started := make(chan error)
	go func() {
		// On Linux the process ends with the thread that started it. So this thread lives
		// as long as the process does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		var readers sync.WaitGroup
		readers.Go(func() { w.readLines(stdout, func(string) slog.Level { return slog.LevelInfo }, nil) })
		readers.Go(func() { w.readLines(stderr, stderrLevel, p) })
		_ = p.cmd.Wait() // The exit code is read from ProcessState.
		// A child of the handler may hold the pipes open; do not wait for it.
		_ = stdout.SetReadDeadline(time.Now().Add(time.Second))
		_ = stderr.SetReadDeadline(time.Now().Add(time.Second))
		readers.Wait()
		hangUp()
		p.transport.CloseIdleConnections()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		hangUp()
		return nil, fmt.Errorf("starting the handler %s: %w", w.options.executable, err)
	}
	w.current = p
	return p, nil
}

func (w *worker) environment(p *process) []string {
	env := make([]string, 0, len(w.settings)+6)
	for name, value := range w.settings {
		env = append(env, name+"="+value)
	}
	port := strconv.Itoa(p.port)
	// The last one of a name wins.
	return append(env,
		"FUNCTIONS_CUSTOMHANDLER_PORT="+port, "FUNCTIONS_HTTPWORKER_PORT="+port,
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID="+p.id, "FUNCTIONS_HTTPWORKER_ID="+p.id,
		"FUNCTIONS_APP_ROOT_PATH="+w.appRoot)
}

// stderrLevel is how the host logs a line of standard error; those of standard output are
// information.
func stderrLevel(line string) slog.Level {
	if strings.Contains(strings.ToLower(line), "warn") {
		return slog.LevelWarn
	}
	return slog.LevelError
}

func (w *worker) readLines(r io.Reader, level func(string) slog.Level, errorsOf *process) {
	reader := bufio.NewReader(r)
	for {
		line, err := reader.ReadString('\n')
		if text := strings.TrimRight(line, "\r\n"); text != "" {
			if errorsOf != nil {
				errorsOf.keepError(text)
			}
			w.emit(level(text), text)
		}
		if err != nil {
			return
		}
	}
}

// awaitReady polls the process until it answers anything at all.
func (w *worker) awaitReady(p *process) error {
	client := http.Client{Transport: p.transport}
	ctx, cancel := context.WithTimeout(context.Background(), w.options.initializationTimeout)
	defer cancel()
	exited := p.exited
	tick := time.NewTicker(readinessInterval)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.address()+"/", nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			return nil
		}
		select {
		case <-tick.C:
		case <-exited:
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				return fmt.Errorf("the handler process ended (%s) before it answered; its last lines on standard error: %s", p.cmd.ProcessState, p.lastErrors())
			}
			exited = nil // Exit 0 goes unnoticed, so the wait runs out.
		case <-w.stopped:
			return errors.New("the host is stopping")
		case <-ctx.Done():
			return fmt.Errorf("the handler did not answer on 127.0.0.1:%d within %s; it must listen on the port in FUNCTIONS_CUSTOMHANDLER_PORT", p.port, w.options.initializationTimeout)
		}
	}
}

func (w *worker) setReady() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.isReady)
}

// unsetReady makes new invocations wait for the next process. It returns true
// when there will be none.
func (w *worker) unsetReady() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.isReady:
		w.isReady = make(chan struct{})
	default:
	}
	return w.closing
}

func (w *worker) isClosing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

func (w *worker) strike() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.last) > strikeMemory {
		w.strikes, w.last = 1, now
	} else {
		w.strikes, w.last = w.strikes+1, now
	}
	return w.strikes
}

func (w *worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure == nil {
		w.failure = err
		close(w.failed)
	}
}

// err returns why the host must stop itself, or nil.
func (w *worker) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// ready returns the process that takes invocations and waits for one if need be. There is
// one, or after maxStrikes failures the host stops itself.
func (w *worker) ready(ctx context.Context) (*process, error) {
	w.mu.Lock()
	isReady := w.isReady
	w.mu.Unlock()
	select {
	case <-isReady:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.current, nil
	case <-w.failed:
		return nil, w.err()
	case <-w.stopped:
		return nil, errors.New("the host is stopping")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// kill ends the running process the way a crash or the host's shutdown does. It
// is started again, and the end counts as an error.
func (w *worker) kill() {
	w.mu.Lock()
	p := w.current
	w.mu.Unlock()
	if p != nil {
		p.kill()
		<-p.exited
	}
}

// restart ends a process that the host gave up and lets a new one start.
func (w *worker) restart(p *process) {
	p.mu.Lock()
	p.deliberate = true
	p.mu.Unlock()
	p.kill()
}

// close ends the process for good.
func (w *worker) close() {
	w.mu.Lock()
	if !w.closing {
		w.closing = true
		close(w.stopped)
	}
	p := w.current
	w.mu.Unlock()
	if p != nil {
		p.kill()
	}
	<-w.ended
}

func (p *process) address() string { return "http://127.0.0.1:" + strconv.Itoa(p.port) }

// kill sends SIGKILL, or its like elsewhere; a process that has ended is left.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

func (p *process) isDeliberate() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deliberate
}

func (p *process) keepError(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stderr = append(p.stderr, line); len(p.stderr) > stderrKept {
		p.stderr = slices.Delete(p.stderr, 0, 1)
	}
}

func (p *process) lastErrors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strconv.Quote(strings.Join(p.stderr, " | "))
}
