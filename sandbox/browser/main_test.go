//go:build browser

package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// patience bounds every wait. It is no measure of speed: a test that waits
// this long has failed.
const patience = 2 * time.Minute

// chromium is where CI has the browser.
const chromium = "/usr/bin/chromium"

var (
	appRoot string          // the bundle that every test runs, built once
	chrome  context.Context // the browser that all tests share
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cipp-ninjaone-app-*")
		if err == nil {
			defer os.RemoveAll(dir)
			err = errors.Join(stack.Build(context.Background(), dir, ""), stack.SlowTimers(dir))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "the bundle under test:", err)
			return 1
		}
		appRoot = dir
		allocator, stop := chromedp.NewExecAllocator(context.Background(),
			chromedp.ExecPath(chromium), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
			chromedp.NoDefaultBrowserCheck, chromedp.WSURLReadTimeout(patience),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
			chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
			chromedp.Flag("hide-scrollbars", false))
		defer stop()
		var end context.CancelFunc
		chrome, end = chromedp.NewContext(allocator)
		defer end()
		if err := chromedp.Do(chrome); err != nil {
			fmt.Fprintln(os.Stderr, "start", chromium, ":", err)
			return 1
		}
		return m.Run()
	}())
}

// world is a running bundle with a page of the browser.
type world struct {
	entered bool // the browser has the cookie that lets it in
	*stack.Stack
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	errors []string // what the browser complained about
	lines  []string
}

// start runs the bundle on a seed and opens a page. Timers are off, but for
// those that are named.
func start(t *testing.T, data *seed.Seed, timers ...string) *world {
	t.Helper()
	s, err := stack.Start(t.Context(), stack.Options{Seed: data})
	must(t, err)
	w := &world{Stack: s, t: t}
	t.Cleanup(func() {
		if v := s.Violations(); len(v) > 0 {
			t.Errorf("requests broke a contract: %q", v)
		}
		must(t, s.Close())
	})
	settings := stack.TimersOff(timers...)
	settings["AzureFunctionsJobHost__extensions__queues__maxPollingInterval"], settings["NINJAONE_RATE"] = "00:00:00.200", "100000"
	must(t, s.StartHost(context.Background(), funchost.Config{
		AppRoot:      appRoot,
		Settings:     settings,
		ShutdownWait: time.Second,
		OnLog: func(line string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lines = append(w.lines, line)
		},
	}))
	t.Cleanup(func() {
		if t.Failed() {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Logf("the handler's last lines:\n%s", strings.Join(w.lines[max(0, len(w.lines)-15):], "\n"))
		}
	})
	w.open()
	return w
}

// open opens a new page, whose complaints fail the test.
func (w *world) open() {
	w.t.Helper()
	ctx, end := chromedp.NewContext(chrome)
	w.t.Cleanup(end)
	ctx, stop := context.WithTimeout(ctx, 4*patience)
	w.t.Cleanup(stop)
	must(w.t, chromedp.Listen(ctx, func(event any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch e := event.(type) {
		case *cdplog.EventEntryAdded:
			// The browser logs a form that is refused, which answers 422, a page
			// that asks to continue, which answers 403, and what the tests
			// themselves look for in a sandboxed value.
			if e.Entry.Level == "error" && !strings.Contains(e.Entry.Text, "422") && !strings.Contains(e.Entry.Text, "403") && !strings.HasPrefix(e.Entry.Text, "Blocked script execution") {
				w.errors = append(w.errors, e.Entry.Text+" "+e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			w.errors = append(w.errors, e.ExceptionDetails.Text)
		}
	}))
	w.ctx = ctx
	w.run(command(cdplog.Enable, cdp.Empty{}), chromedp.EmulateViewport(1280, 900))
	w.t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.errors) > 0 {
			w.t.Errorf("the browser complained: %q", w.errors)
		}
	})
}

var must = fail.If

// command is an action that sends a command to the browser.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// run does things in the browser.
func (w *world) run(actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ask(w, chromedp.Steps(actions...))
}

// ask does something in the browser, and returns what it gives.
func ask[T any](w *world, action chromedp.Action[T]) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		w.t.Fatalf("%v; the page says:\n%s", err, w.text())
	}
	return v
}

// text is what the page shows.
func (w *world) text() string {
	text, _ := chromedp.Run(w.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	return text
}

// eval is the value of an expression on the page.
func eval[T any](w *world, expression string) T {
	w.t.Helper()
	return ask(w, chromedp.Evaluate[T](expression))
}

// visit loads a page of the console, and goes on where the page asks to.
func (w *world) visit(path string) {
	w.t.Helper()
	if !w.entered {
		w.run(chromedp.Navigate(w.ConsoleURL()))
		w.entered = true
	}
	w.run(chromedp.Navigate(w.Host.URL() + "/api/ninjaone/console" + path))
	if eval[bool](w, `document.getElementById("continue") !== null`) {
		w.follow("#continue")
	}
}

// says waits until the page, or one that follows it, shows a text.
func (w *world) says(text string) {
	w.t.Helper()
	quoted, _ := json.Marshal(text)
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](`document.body !== null && document.body.innerText.includes(`+string(quoted)+`)`, chromedp.WithPollingTimeout(0)))
		if err == nil {
			return
		}
		if ctx.Err() != nil { // any other error is that another page was loaded
			w.t.Fatalf("the page does not say %q; it says:\n%s", text, w.text())
		}
	}
}

// comesToSay loads a page of the console until it shows a text: what the page
// is about goes on by itself, and not every page renews itself.
func (w *world) comesToSay(path, text string) {
	w.t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for w.visit(path); !strings.Contains(w.text(), text); w.visit(path) {
		select {
		case <-tick.C:
		case <-late:
			w.t.Fatalf("%s does not come to say %q; it says:\n%s", path, text, w.text())
		}
	}
}

// saysNot checks that the page does not show a text.
func (w *world) saysNot(text string) {
	w.t.Helper()
	if strings.Contains(w.text(), text) {
		w.t.Errorf("the page shows %q", text)
	}
}

// press presses the button or link whose name a screen reader would read out,
// and waits for the page that follows.
func (w *world) press(name string) {
	w.t.Helper()
	w.mark(name, "main button, main a")
	ask(w, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Click(chromedp.CSS("[data-press]"))))
}

// follow clicks what a selector finds, and waits for the page that follows.
func (w *world) follow(selector string) {
	w.t.Helper()
	ask(w, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Click(chromedp.CSS(selector))))
}

// unfold opens what is folded under a name.
func (w *world) unfold(name string) {
	w.t.Helper()
	w.mark(name, "summary")
	w.run(chromedp.Click(chromedp.CSS("[data-press]")))
}

func (w *world) mark(name, among string) {
	w.t.Helper()
	arguments, _ := json.Marshal([]string{name, among})
	if !eval[bool](w, `(([name, among]) => {
		for (const e of document.querySelectorAll("[data-press]")) delete e.dataset.press;
		const found = [...document.querySelectorAll(among)].find(e => e.textContent.replace(/\s+/g, " ").trim() === name);
		if (found) found.dataset.press = "";
		return found !== undefined;
	})(`+string(arguments)+`)`) {
		w.t.Fatalf("there is no %q; the page says:\n%s", name, w.text())
	}
}

// look chooses the colours and the width of the browser.
func (w *world) look(colours string, width int64) {
	w.t.Helper()
	w.run(
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}}),
		chromedp.EmulateViewport(width, 900),
	)
}

// picture leaves a picture of the page in the folder PICTURES.
func (w *world) picture(name string) {
	w.t.Helper()
	folder := os.Getenv("PICTURES")
	if folder == "" {
		return
	}
	// What is outside the window is not painted, so the window grows for it.
	width, height := eval[int64](w, "innerWidth"), eval[int64](w, "document.documentElement.scrollHeight")
	w.run(chromedp.EmulateViewport(width, min(height, 3000)))
	ask(w, chromedp.CaptureScreenshot()) // which paints what was outside
	png := ask(w, chromedp.CaptureScreenshot())
	w.run(chromedp.EmulateViewport(width, 900))
	must(w.t, os.MkdirAll(folder, 0o755))
	must(w.t, os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644))
}

//go:embed audit.js
var audit string

// readable checks that the page is readable for everybody.
func (w *world) readable(where string) {
	w.t.Helper()
	for _, f := range eval[[]string](w, audit) {
		w.t.Errorf("%s: %s", where, f)
	}
}
