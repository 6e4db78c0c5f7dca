// Command demo runs the bundle on simulators. It syncs the tenants of an invented service
// provider into a simulated NinjaOne. A gallery on loopback shows each field and document
// as NinjaOne would.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/gallery"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// rate is the demo's NinjaOne calls per second, faster than the default of 5
// so that nobody waits long.
const rate = "20"

func main() {
	check := flag.Bool("check", false, "check the result and exit")
	host := flag.String("host", "sandbox", "the host to run on: sandbox (the stand-in), or func (Azure Functions Core Tools)")
	app := flag.String("app", "", "the app root to run; dist when empty, as make build makes it")
	address := flag.String("listen", "127.0.0.1:8400", "where the gallery is served")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Stdout, *check, *host, *app, *address)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out *os.File, check bool, host, app, address string) error {
	if app == "" {
		root, err := azurite.ModuleRoot()
		if err != nil {
			return err
		}
		app = filepath.Join(root, "dist")
	}
	data := seed.MSP()
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments, data.Quirks.CVESync = true, true, true
	fmt.Fprintf(out, "Starting storage, Microsoft 365 and NinjaOne, all simulated on this machine …\n")
	s, err := stack.Start(ctx, stack.Options{Seed: data})
	if err != nil {
		return err
	}
	defer s.Close()
	start := startSandbox
	switch host {
	case "sandbox":
	case "func":
		start = func(ctx context.Context, s *stack.Stack, app string) (trigger, string, error) {
			return startCoreTools(ctx, s.Settings(), app)
		}
	default:
		return fmt.Errorf("-host is %q; it must be sandbox or func", host)
	}
	trigger, base, err := start(ctx, s, app)
	if err != nil {
		return err
	}
	info, err := out.Stat()
	if err != nil {
		return err
	}
	w := &watcher{stack: s, out: out, ended: map[string]string{}, terminal: info.Mode()&os.ModeCharDevice != 0}

	fmt.Fprintf(out, "%d tenants are mapped in CIPP. The schedule starts, as it does every 15 minutes.\n\n", len(data.Mappings))
	if err := trigger(ctx, "ScheduleTenants", ""); err != nil {
		return err
	}
	if err := w.follow(ctx, w.expected()); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe schedule comes again: it uploads the vulnerabilities of tenants whose devices are known by now.\n\n")
	if err := trigger(ctx, "ScheduleTenants", ""); err != nil {
		return err
	}
	if err := w.followUploads(ctx); err != nil {
		return err
	}
	w.report()
	if check {
		return w.check(ctx)
	}
	return serve(ctx, out, s, address, s.ConsoleAt(base))
}

// startSandbox runs the bundle on the stand-in for the Functions host. It
// returns how to run a function, and the host's address.
func startSandbox(ctx context.Context, s *stack.Stack, appRoot string) (trigger, string, error) {
	err := s.StartHost(ctx, funchost.Config{
		AppRoot: appRoot,
		Settings: map[string]string{
			"NINJAONE_RATE": rate,
			"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:01",
		},
		// Storage that stood still may hide a message of which nobody heard. The host
		// would wait for it longer than the demo does.
		MessageInvisibility: 100 * time.Second,
	})
	if err != nil {
		return nil, "", err
	}
	return s.Host.Invoke, s.Host.URL(), nil
}

// trigger runs a function now.
type trigger func(ctx context.Context, function, input string) error

// serve shows the gallery until it is stopped, and opens the console in a
// browser.
func serve(ctx context.Context, out io.Writer, s *stack.Stack, address, console string) error {
	listener, err := net.Listen("tcp4", address)
	if err != nil { // taken by another demo, perhaps
		if listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("serve the gallery: %w", err)
		}
	}
	server := &http.Server{Handler: gallery.New(s.NinjaOne), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Fprintf(out, "\nLook at every field and document as NinjaOne would show it:  http://%s/\n"+
		"The app's console, with the token that lets you in:  %s\nCtrl+C ends the demo.\n", listener.Addr(), console)
	openInBrowser(ctx, console)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openInBrowser shows an address in the desktop's browser. Where there is none,
// nothing happens: the address is printed anyway.
func openInBrowser(ctx context.Context, address string) {
	command := []string{"xdg-open", address}
	switch runtime.GOOS {
	case "darwin":
		command[0] = "open"
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", address}
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			return
		}
	}
	_ = exec.CommandContext(ctx, command[0], command[1:]...).Start()
}
