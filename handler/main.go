// Command handler is the custom handler that the Functions host starts. It
// only wires the packages below internal; what they do is theirs.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/schedule"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// logbookName is the API name in CIPP's logbook of what a queue function does.
var logbookName = map[string]string{
	"SyncTenant": "NinjaOneSync",
	"Automap":    "NinjaOneAutoMap_Queue",
}

// main ends with a status other than 0 in every case: the host restarts a
// handler that failed, and leaves one dead that exited with 0.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := customhandler.NewLogger(os.Stdout, slog.LevelInfo)
	err := run(ctx, os.Getenv)
	if errors.Is(err, customhandler.ErrStopped) {
		log.Info("the handler was told to stop")
	} else {
		log.Error("the handler cannot run", "error", err)
	}
	stop()
	os.Exit(1)
}

// run serves the host until ctx ends. It reads nothing from any service
// before it listens, since the host waits only so long.
func run(ctx context.Context, getenv func(string) string) error {
	cfg, err := config.FromEnvironment(getenv)
	if err != nil {
		return err
	}
	log := customhandler.NewLogger(os.Stdout, cfg.LogLevel)
	app, err := storage.Open(getenv, storage.Own)
	if err != nil {
		return err
	}
	cippAccount, err := storage.Open(getenv, storage.CIPP)
	if err != nil {
		return err
	}
	secrets, err := cipp.OpenSecrets(getenv, cippAccount)
	if err != nil {
		return err
	}
	store := cipp.New(cippAccount, cipp.Options{Timezone: cfg.CIPPTimezone, SiteName: getenv("WEBSITE_SITE_NAME"), Logger: log})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	reader, err := m365.NewReader(m365.Config{
		GraphEndpoint:    cfg.GraphEndpoint,
		LoginEndpoint:    cfg.LoginEndpoint,
		ExchangeEndpoint: cfg.ExchangeEndpoint,
		Auth:             cfg.GraphAuth,
		Credentials:      secrets,
		Transport:        transport,
		Logger:           log,
	})
	if err != nil {
		return err
	}
	ninjaOne := ninjaone.Config{
		Endpoint: cfg.NinjaOneEndpoint,
		Secret: func(ctx context.Context, fresh bool) (string, error) {
			return secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
		},
		Rate:      cfg.NinjaOneRate,
		Transport: transport,
		Logger:    log,
	}
	clients := ninjaone.NewPool(ninjaOne)
	blobs := app.Container(tenantsync.ContainerName)
	skuNames := &tenantsync.KeptNames{
		Fetch: m365.NewSKUNames(cfg.SKUNamesURL, transport, log).Names,
		Blobs: blobs,
		Log:   log,
	}
	state := tenantsync.NewState(app.Table(tenantsync.TableName))
	queue := app.Queue(tenantsync.QueueName)
	syncer := &tenantsync.Syncer{
		CIPP:   store,
		Reader: reader,
		NinjaOne: func(c cipp.ExtensionConfig) (*ninjaone.Client, error) {
			return clients.Client(c.Instance, c.ClientID)
		},
		SKUNames: skuNames.Names,
		State:    state,
		Blobs:    blobs,
		Queue:    queue,
		Budget:   cfg.SyncTimeBudget,
		Now:      time.Now,
		Log:      log,
	}
	scheduler := &schedule.Scheduler{CIPP: store, State: state, Queue: queue, Now: time.Now, Log: log}

	server := customhandler.New(customhandler.Config{
		Logger: log,
		OnBadMessage: func(ctx context.Context, function, reason string) {
			err := store.Log(ctx, cipp.LogEntry{API: logbookName[function], Severity: cipp.SeverityError,
				Message: "A message for " + function + " was dropped, because " + reason + ". Nothing was done for it."})
			if err != nil {
				log.ErrorContext(ctx, "the logbook cannot be written", "error", err)
			}
		},
	})
	server.Timer("ScheduleTenants", func(ctx context.Context, _ customhandler.TimerInfo) error {
		return scheduler.Tick(ctx)
	})
	server.Queue("SyncTenant", func(ctx context.Context, q customhandler.QueueMessage) error {
		m, err := tenantsync.ParseMessage(q.Text)
		if err != nil {
			return customhandler.BadMessage(err.Error())
		}
		return syncer.Run(ctx, m)
	}, customhandler.WithTimeout(invocationTime(cfg)))

	mapper := &automap.Mapper{
		CIPP:     store,
		Intune:   reader,
		NinjaOne: syncer.NinjaOne,
		Blobs:    blobs,
		Queue:    app.Queue(automap.QueueName),
		Budget:   cfg.SyncTimeBudget,
		Now:      time.Now,
		Log:      log,
	}
	server.Queue("Automap", func(ctx context.Context, q customhandler.QueueMessage) error {
		m, err := automap.ParseMessage(q.Text)
		if err != nil {
			return customhandler.BadMessage(err.Error())
		}
		return mapper.Run(ctx, m)
	}, customhandler.WithTimeout(invocationTime(cfg)))

	who := access.FromEnvironment(getenv)
	who.Logger = log
	web := settings.New(settings.Deps{
		CIPP:     store,
		Secrets:  secrets,
		Guard:    access.New(who),
		NinjaOne: syncer.NinjaOne,
		Connect:  ninjaOne,
		Sync:     queue,
		Automap:  mapper.Queue,
		Runs:     state,
		Log:      log,
	})
	for _, f := range web.Functions() {
		server.HTTP(f.Name, f.Route, f.Handler)
	}

	listener, err := customhandler.Listen(cfg.Port)
	if err != nil {
		return err
	}
	log.Info("listening", "address", listener.Addr().String(), "functions", server.Functions())
	return server.Serve(ctx, listener)
}

// invocationTime is how long an invocation of SyncTenant may last: a little
// longer than the run itself, which ends on its own, and never so long that
// the host would kill the process.
func invocationTime(s config.Settings) time.Duration {
	limit := s.SyncTimeBudget + time.Minute
	if s.FunctionTimeout > 0 {
		limit = min(limit, s.FunctionTimeout-30*time.Second)
	}
	return limit
}
