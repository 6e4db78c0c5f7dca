package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/schedule"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/telemetry"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// interactiveShare is the part of the rate that is kept for people at a page.
const interactiveShare = 0.1

// app is the packages put together from the app settings. Nothing of it has
// called any service yet.
type app struct {
	config    config.Settings
	log       *slog.Logger
	telemetry *telemetry.Telemetry
	own       *storage.Account // the function app's own storage
	table     *storage.Table   // NinjaOneSyncState
	cipp      *cipp.Store
	secrets   *cipp.Secrets
	reader    *m365.Reader
	ninjaOne  ninjaone.Config // less the instance and client id, which are set in CIPP
	clients   *ninjaone.Pool  // paced by syncPace: for syncs and automap
	// interactive is for the few calls of a person at a page, who cannot wait
	// for a slot.
	interactive *ninjaone.Pool
	syncPace    *pacing.Pacer

	ledger    *ledger.Ledger
	runs      *runs.Store
	blobs     *storage.Container
	syncQueue *storage.Queue

	layout    *layout.Guard
	heart     *heartbeat.Heart
	hold      *engine.Hold
	scheduler *schedule.Scheduler
	syncer    *tenantsync.Syncer
	untold    *tenantsync.Unrecorded
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
	a.own = a.own.Upto(layout.Version)
	account, err := storage.Open(getenv, storage.CIPP)
	if err != nil {
		return nil, err
	}
	a.cipp = cipp.New(account, cipp.Options{Timezone: settings.CIPPTimezone, SiteName: getenv("WEBSITE_SITE_NAME"), Logger: a.log})
	if a.secrets, err = cipp.OpenSecrets(getenv, account); err != nil {
		return nil, err
	}
	if a.telemetry, err = telemetry.Start(context.Background(), version, a.log); err != nil {
		a.log.Warn("the work goes on without telemetry", "error", err)
	}
	connections := http.DefaultTransport.(*http.Transport).Clone()
	// A device's fields go out at once: net/http copies what is left of a larger
	// body through a new buffer of that size.
	connections.WriteBufferSize = 32 << 10
	connections.MaxIdleConnsPerHost = 32
	connections.MaxResponseHeaderBytes = 256 << 10
	transport := a.telemetry.Transport(connections)
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
	a.ninjaOne.Rate = settings.NinjaOneRate * interactiveShare
	a.interactive = ninjaone.NewPool(a.ninjaOne)
	a.table = a.own.Table(layout.TableName)
	a.ledger = ledger.New(a.table)
	a.runs = runs.New(a.table)
	told := &problems.Book{Table: a.table, Log: a.cipp.Log, API: logbookName["SyncTenant"]}
	a.blobs = a.own.Container(tenantsync.ContainerName)
	a.syncQueue = a.own.Queue(tenantsync.QueueName)
	syncs, updates := lanes(settings)
	a.syncPace = pacing.New(pacing.Config{
		Blobs:   a.blobs,
		Lane:    syncs,
		Borrow:  []pacing.Lane{updates},
		SetRate: a.clients.SetRate,
		Logger:  a.log,
	})
	names := &tenantsync.KeptNames{
		Fetch: m365.NewSKUNames(settings.SKUNamesURL, transport, a.log).Names,
		Blobs: a.blobs,
		Log:   a.log,
	}
	a.layout = &layout.Guard{Table: a.table, Tell: a.tellNewer, Now: time.Now}
	a.heart = &heartbeat.Heart{
		Table: a.table,
		Queue: a.own.Queue(heartbeat.QueueName),
		CIPP:  a.cipp,
		Now:   time.Now,
		Log:   a.log,
	}
	a.hold = &engine.Hold{
		CIPP:     a.cipp,
		Runs:     a.runs,
		Problems: told,
		Table:    a.table,
		Queue:    a.syncQueue,
		Graph:    a.reader,
		Now:      time.Now,
		Log:      a.log,
	}
	a.scheduler = &schedule.Scheduler{CIPP: a.cipp, Runs: a.runs, Problems: told, Queue: a.syncQueue, Now: time.Now, Log: a.log}
	a.untold = &tenantsync.Unrecorded{CIPP: a.cipp, Runs: a.runs, Problems: told, Now: time.Now, Log: a.log}
	a.syncer = &tenantsync.Syncer{
		CIPP:     a.cipp,
		Reader:   a.reader,
		NinjaOne: clientOf(a.clients),
		SKUNames: names.Names,
		Documents: &documents.Syncer{
			CIPP:   a.cipp,
			Ledger: ledger.NewDocuments(a.table),
			Blobs:  a.blobs,
			Now:    time.Now,
			Log:    a.log,
		},
		Ledger: a.ledger,
		Table:  a.table,
		Runs:   a.runs,
		Blobs:  a.blobs,
		Queue:  a.syncQueue,
		Within: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, settings.SyncTimeBudget)
		},
		Now: time.Now,
		Log: a.log,
	}
	a.mapper = &automap.Mapper{
		CIPP:   a.cipp,
		Intune: a.reader,
		Unmatched: func(ctx context.Context, tenantID string) ([]string, bool, error) {
			return devicematch.UnmatchedSerials(ctx, a.blobs, tenantID)
		},
		NinjaOne: clientOf(a.clients),
		Blobs:    a.blobs,
		Queue:    a.own.Queue(automap.QueueName),
		Budget:   runTime(settings),
		Now:      time.Now,
		Log:      a.log,
	}
	return a, nil
}

// lanes are those of syncs and of compliance updates. Each borrows from the other.
func lanes(s config.Settings) (syncs, updates pacing.Lane) {
	return pacing.Lane{Name: "sync", Slots: s.SyncSlots, Rate: s.NinjaOneRate * (1 - pacing.ComplianceShare - interactiveShare)},
		pacing.Lane{Name: "compliance", Slots: complianceSlots, Rate: s.NinjaOneRate * pacing.ComplianceShare}
}

// clientOf returns how a pool's client is found for the instance and API
// application that are set in CIPP.
func clientOf(p *ninjaone.Pool) func(cipp.ExtensionConfig) (*ninjaone.Client, error) {
	return func(c cipp.ExtensionConfig) (*ninjaone.Client, error) { return p.Client(c.Instance, c.ClientID) }
}

// slotWait is how long an invocation waits for a slot before it puts its
// message back, and slotDelay how long the message then rests.
const (
	slotWait  = 45 * time.Second
	slotDelay = 30 * time.Second
)

// paced runs a queue function while it holds a slot of the pace that all
// processes share. A message that gets none, or whose slot is lost because
// storage cannot be reached, is put back: it has not failed.
func paced[M any](p *pacing.Pacer, q *storage.Queue, run func(context.Context, M) error) func(context.Context, M) error {
	return func(ctx context.Context, m M) error {
		slot, err := p.Acquire(ctx, slotWait)
		if errors.Is(err, pacing.ErrBusy) {
			return q.Send(ctx, m, slotDelay)
		}
		if err != nil {
			return err
		}
		defer slot.Release()
		err = run(slot.Context(), m)
		if err != nil && errors.Is(context.Cause(slot.Context()), pacing.ErrLost) {
			return q.Send(ctx, m, slotDelay)
		}
		return err
	}
}
