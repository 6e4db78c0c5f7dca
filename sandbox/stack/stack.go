// Package stack starts everything that the bundle needs to run on one machine. That is
// the storage emulator with CIPP's tables, simulated Microsoft 365 and NinjaOne, and the
// Functions host's stand-in. The demo, the end-to-end tests and the benchmarks run on it.
// It knows the bundle only as an app root.
package stack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/loopback"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/storageproxy"
)

// Options say what to start.
type Options struct {
	Seed *seed.Seed
	// Storage is an emulator that runs already; nil starts one.
	Storage *azurite.Azurite
	// Proxy puts a proxy between the host with its handler and the emulator,
	// that can let storage fail.
	Proxy bool
	// PageSize caps the pages of Graph and Exchange, delta answers included, so that
	// small tenants need several. The services have their own sizes when it is 0.
	PageSize int
	// HTMLAsSent is ninjasim's setting of that name.
	HTMLAsSent bool
}

// Stack is the running services, and the host once StartHost was called.
type Stack struct {
	Seed     *seed.Seed
	Storage  *azurite.Azurite
	Proxy    *storageproxy.Proxy // nil unless asked for
	M365     *m365sim.Server
	NinjaOne *ninjasim.Server
	Host     *funchost.Host
	// Tables and Queues reach the storage, past the proxy.
	Tables *aztables.ServiceClient
	Queues *azqueue.ServiceClient

	endpoints m365sim.Endpoints
	products  *httptest.Server
	own       bool // the emulator was started here
	token     string
	close     sync.Once
}

// Start starts the services and writes CIPP's tables.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	s := &Stack{Seed: o.Seed, Storage: o.Storage, token: rand.Text()}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.Storage == nil {
		if s.Storage, err = azurite.Start(ctx); err != nil {
			return nil, err
		}
		s.own = true
	}
	if o.Proxy {
		if s.Proxy, err = storageproxy.Start(s.Storage); err != nil {
			return nil, err
		}
	}
	config := o.Seed.Config()
	config.PageSize, config.DeltaPageSize = o.PageSize, o.PageSize
	if s.M365, err = m365sim.New(config, o.Seed.Tenants...); err != nil {
		return nil, err
	}
	if s.endpoints, err = s.M365.Start(); err != nil {
		return nil, fmt.Errorf("start the simulated Microsoft 365: %w", err)
	}
	s.NinjaOne = newNinjaOne(o)
	if err = s.NinjaOne.Start(); err != nil {
		return nil, fmt.Errorf("start the simulated NinjaOne: %w", err)
	}
	s.products = loopback.NewServer(http.HandlerFunc(serveProducts))
	storage := s.Storage.ConnectionString()
	if s.Tables, err = aztables.NewServiceClientFromConnectionString(storage, nil); err != nil {
		return nil, err
	}
	if s.Queues, err = azqueue.NewServiceClientFromConnectionString(storage, nil); err != nil {
		return nil, err
	}
	if err = seed.WriteCIPPTables(ctx, storage, o.Seed); err != nil {
		return nil, err
	}
	return s, nil
}

// newNinjaOne returns a simulated NinjaOne with the seed's content.
func newNinjaOne(o Options) *ninjasim.Server {
	data := o.Seed
	n := ninjasim.New(ninjasim.Config{ClientID: data.Ninja.ClientID, ClientSecret: data.Ninja.Secret, HTMLAsSent: o.HTMLAsSent})
	for _, o := range data.Organizations {
		n.AddOrganization(o)
	}
	for _, f := range data.CustomFields {
		n.AddCustomField(f)
	}
	for _, d := range data.NinjaDevices {
		n.AddDevice(d)
	}
	for _, g := range data.ScanGroups {
		n.AddScanGroup(g)
	}
	return n
}

// serveProducts stands in for Microsoft's file of product names. Some products
// of the seed are missing from it, as new ones are from the real file.
func serveProducts(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/csv")
	out := csv.NewWriter(w)
	_ = out.Write([]string{"Product_Display_Name", "String_Id", "GUID", "Service_Plan_Name", "Service_Plan_Id", "Service_Plans_Included_Friendly_Names"})
	for _, p := range seed.Products() {
		for _, plan := range p.Plans {
			_ = out.Write([]string{p.Name, p.PartNumber, p.ID, plan.Name, plan.ID, plan.Name})
		}
	}
	out.Flush()
}

// DevToken lets callers of the bundle in, as header X-Dev-Token.
func (s *Stack) DevToken() string { return s.token }

// ConsoleURL is the address that opens the console in a browser. It holds the
// token.
func (s *Stack) ConsoleURL() string { return s.ConsoleAt(s.Host.URL()) }

// ConsoleAt is the same for a bundle that runs on another host.
func (s *Stack) ConsoleAt(host string) string {
	return host + "/api/ninjaone/console/?" + url.Values{"token": {s.token}}.Encode()
}

// Settings are the app settings with which the bundle runs on the stack.
func (s *Stack) Settings() map[string]string {
	storage := s.Storage.ConnectionString()
	if s.Proxy != nil {
		storage = s.Proxy.ConnectionString()
	}
	return map[string]string{
		"AzureWebJobsStorage": storage,
		"CIPP_STORAGE":        storage,
		"DEV_TOKEN":           s.token,
		"NonLocalHostAzurite": "true", // CIPP's own word for development storage at another address
		"GRAPH_ENDPOINT":      s.endpoints.Graph,
		"LOGIN_ENDPOINT":      s.endpoints.Login,
		"EXCHANGE_ENDPOINT":   s.endpoints.Exchange,
		"DEFENDER_ENDPOINT":   s.endpoints.Defender,
		"NINJAONE_ENDPOINT":   s.NinjaOne.URL(),
		"SKU_NAMES_URL":       s.products.URL + "/products.csv",
	}
}

// StartHost runs an app root on the stand-in host. Settings and callbacks of
// config are kept; the stack's own settings are added below them.
func (s *Stack) StartHost(ctx context.Context, config funchost.Config) error {
	settings := s.Settings()
	maps.Copy(settings, config.Settings)
	config.Settings = settings
	if config.Listener == nil {
		listener, err := loopback.Listen()
		if err != nil {
			return fmt.Errorf("start the stand-in for the Functions host: %w", err)
		}
		config.Listener = listener
	}
	host, err := funchost.Start(ctx, config)
	if err != nil {
		return fmt.Errorf("start the stand-in for the Functions host: %w", err)
	}
	s.Host = host
	return nil
}

// TimersOff are the settings that switch the app's timers off, but those that are named.
func TimersOff(but ...string) map[string]string {
	off := map[string]string{}
	for _, timer := range []string{"ScheduleTenants", "SweepCompliance", "RenewSubscriptions", "WatchTenants"} {
		if !slices.Contains(but, timer) {
			off["AzureWebJobs."+timer+".Disabled"] = "true"
		}
	}
	return off
}

// Enqueue puts a message on a queue, which it makes where it is missing.
func (s *Stack) Enqueue(ctx context.Context, queue, text string) error {
	client := s.Queues.NewQueueClient(queue)
	if _, err := client.Create(ctx, nil); err != nil {
		return err
	}
	_, err := client.EnqueueMessage(ctx, base64.StdEncoding.EncodeToString([]byte(text)), nil)
	return err
}

// Violations lists the requests that no correct client sends, from both
// simulators.
func (s *Stack) Violations() []string {
	return append(s.M365.Violations(), s.NinjaOne.Violations()...)
}

// Close stops everything that was started.
func (s *Stack) Close() error {
	var errs []error
	s.close.Do(func() {
		if s.Host != nil {
			s.Host.Stop()
		}
		if s.products != nil {
			s.products.Close()
		}
		if s.M365 != nil {
			errs = append(errs, s.M365.Close())
		}
		if s.NinjaOne != nil && s.NinjaOne.URL() != "" {
			errs = append(errs, s.NinjaOne.Close())
		}
		if s.Proxy != nil {
			errs = append(errs, s.Proxy.Close())
		}
		if s.own {
			s.Storage.Stop()
		}
	})
	return errors.Join(errs...)
}

// Build assembles an app root in dir, as `make build` does for dist. The handler calls
// itself by the version, or by its own where that is "".
func Build(ctx context.Context, dir, version string) error {
	root, err := azurite.ModuleRoot()
	if err != nil {
		return err
	}
	if err := look(filepath.Join(root, "handler")); err != nil {
		return err
	}
	flags := "-ldflags=-s -w"
	if version != "" {
		flags += " -X main.version=" + version
	}
	cmd := exec.CommandContext(ctx, "go", "build", flags, "-o", dir+string(filepath.Separator), "./handler")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the handler: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "functions"))); err != nil {
		return fmt.Errorf("copy the functions: %w", err)
	}
	hostJSON, err := os.ReadFile(filepath.Join(root, "host.json"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "host.json"), hostJSON, 0o644)
}

// look lists a folder and all below it. Go gives a test's kept result while the files that
// the test itself read or listed stay the same; it does not see what `go build` reads.
func look(dir string) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(_ string, _ fs.DirEntry, err error) error { return err })
}

var schedule = regexp.MustCompile(`"schedule":\s*"[^"]*"`)

// SlowTimers lets the timers of an app root fire once a year, so that only what
// a test starts runs.
func SlowTimers(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "function.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, schedule.ReplaceAll(text, []byte(`"schedule": "0 0 0 1 1 *"`)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
