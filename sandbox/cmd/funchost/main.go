// Command funchost runs an app root with a custom handler under the local
// stand-in for the Azure Functions host, until it is interrupted.
//
// It only reads flags and local.settings.json; the host itself is the package
// funchost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/funchost"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "funchost:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("funchost", flag.ContinueOnError)
	root := flags.String("root", ".", "app root: the `folder` with host.json and the functions' folders")
	listen := flags.String("listen", "127.0.0.1:7071", "`address` of the HTTP server")
	settingsFile := flags.String("settings", "", "local settings `file` (default: local.settings.json in the app root, if there)")
	functionKey := flags.String("function-key", "", "`key` that functions of the level \"function\" ask for (default: none is asked for)")
	adminKey := flags.String("admin-key", "", "`key` of the level \"admin\" (default: the function key)")
	single := flags.Bool("single-encoded", false, "send envelope values as the documentation shows them, not as the host's source does")
	noProxying := flags.Bool("no-proxying", false, "play an older host, which does not know enableProxyingHttpRequest")
	storage := flags.String("azurite", "", "start the storage emulator with its data in this `folder` and use it as AzureWebJobsStorage")
	verbose := flags.Bool("verbose", false, "log debug messages")
	if err := flags.Parse(args); err != nil {
		return err
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	settings, err := loadSettings(*root, *settingsFile)
	if err != nil {
		return err
	}
	if *storage != "" {
		emulator, err := azurite.Start(context.WithoutCancel(ctx), azurite.Options{Dir: *storage})
		if err != nil {
			return err
		}
		defer emulator.Stop()
		settings["AzureWebJobsStorage"] = emulator.ConnectionString()
	}
	host, err := funchost.Start(ctx, funchost.Config{
		AppRoot: *root, Settings: settings, Listen: *listen, SingleEncoded: *single, NoProxying: *noProxying,
		FunctionKey: *functionKey, AdminKey: *adminKey,
		Log: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	return host.Wait()
}

// loadSettings reads the local settings; a variable of the environment has
// precedence over a setting of the same name. Without a file named by hand, a
// missing one is no error.
func loadSettings(root, file string) (map[string]string, error) {
	named := file != ""
	if !named {
		file = filepath.Join(root, "local.settings.json")
	}
	settings, err := funchost.LoadSettings(file)
	if err != nil && (named || !errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	out := map[string]string{}
	for name, value := range settings {
		if _, set := os.LookupEnv(name); !set {
			out[name] = value
		}
	}
	return out, nil
}
