package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/schedule"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// app is the packages put together from the app settings. Nothing of it has
// called any service yet.
type app struct {
	config   config.Settings
	log      *slog.Logger
	own      *storage.Account // the function app's own storage
	cipp     *cipp.Store
	secrets  *cipp.Secrets
	reader   *m365.Reader
	ninjaOne ninjaone.Config // less the instance and client id, which are set in CIPP
	clients  *ninjaone.Pool

	state     *tenantsync.State
	blobs     *storage.Container
	syncQueue *storage.Queue

	hold      *engine.Hold
	scheduler *schedule.Scheduler
	syncer    *tenantsync.Syncer
	mapper    *automap.Mapper
}

// open puts the packages together. Log lines of at least the level that is
// set, and no less than least, go to out.
func open(getenv func(string) string, out io.Writer, least slog.Level) (*app, error) {
	settings, err := config.FromEnvironment(getenv)
	if err != nil {
		return nil, err
	}
	a := &app{config: settings, log: customhandler.NewLogger(out, max(settings.LogLevel, least))}
	if a.own, err = storage.Open(getenv, storage.Own); err != nil {
		return nil, err
	}
	account, err := storage.Open(getenv, storage.CIPP)
	if err != nil {
		return nil, err
	}
	a.cipp = cipp.New(account, cipp.Options{Timezone: settings.CIPPTimezone, SiteName: getenv("WEBSITE_SITE_NAME"), Logger: a.log})
	if a.secrets, err = cipp.OpenSecrets(getenv, account); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	a.reader, err = m365.NewReader(m365.Config{
		GraphEndpoint:    settings.GraphEndpoint,
		LoginEndpoint:    settings.LoginEndpoint,
		ExchangeEndpoint: settings.ExchangeEndpoint,
		Auth:             settings.GraphAuth,
		Credentials:      a.secrets,
		Transport:        transport,
		Logger:           a.log,
	})
	if err != nil {
		return nil, err
	}
	a.ninjaOne = ninjaone.Config{
		Endpoint: settings.NinjaOneEndpoint,
		Secret: func(ctx context.Context, fresh bool) (string, error) {
			return a.secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
		},
		Rate:      settings.NinjaOneRate,
		Transport: transport,
		Logger:    a.log,
	}
	a.clients = ninjaone.NewPool(a.ninjaOne)
	a.state = tenantsync.NewState(a.own.Table(tenantsync.TableName))
	a.blobs = a.own.Container(tenantsync.ContainerName)
	a.syncQueue = a.own.Queue(tenantsync.QueueName)
	names := &tenantsync.KeptNames{
		Fetch: m365.NewSKUNames(settings.SKUNamesURL, transport, a.log).Names,
		Blobs: a.blobs,
		Log:   a.log,
	}
	a.hold = &engine.Hold{
		CIPP:  a.cipp,
		State: a.state,
		Table: a.own.Table(tenantsync.TableName),
		Queue: a.syncQueue,
		Graph: a.reader,
		Now:   time.Now,
		Log:   a.log,
	}
	a.scheduler = &schedule.Scheduler{CIPP: a.cipp, State: a.state, Queue: a.syncQueue, Now: time.Now, Log: a.log}
	a.syncer = &tenantsync.Syncer{
		CIPP:     a.cipp,
		Reader:   a.reader,
		NinjaOne: a.client,
		SKUNames: names.Names,
		State:    a.state,
		Blobs:    a.blobs,
		Queue:    a.syncQueue,
		Budget:   settings.SyncTimeBudget,
		Now:      time.Now,
		Log:      a.log,
	}
	a.mapper = &automap.Mapper{
		CIPP:     a.cipp,
		Intune:   a.reader,
		NinjaOne: a.client,
		Blobs:    a.blobs,
		Queue:    a.own.Queue(automap.QueueName),
		Budget:   settings.SyncTimeBudget,
		Now:      time.Now,
		Log:      a.log,
	}
	return a, nil
}

// client returns the client for the instance and API application that are set
// in CIPP.
func (a *app) client(c cipp.ExtensionConfig) (*ninjaone.Client, error) {
	return a.clients.Client(c.Instance, c.ClientID)
}
