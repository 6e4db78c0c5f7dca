package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/console"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/engine"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/policies"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/schedule"
	"cipp-ninjaone/handler/internal/settings"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/handler/internal/telemetry"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/vulnerabilities"
)

const (
	// The parts of the pace that compliance updates have, and people at a page.
	// Syncs have the rest.
	complianceShare, interactiveShare = 0.2, 0.1
	// Compliance updates write one field at a time, so many of them share one of
	// their slots.
	complianceSlots = 2
	runsPerSlot     = 16
)

// app is the packages put together from the app settings. Nothing of it has
// called any service yet.
type app struct {
	config    config.Settings
	log       *slog.Logger
	telemetry *telemetry.Telemetry

	own       *storage.Account // the function app's own storage
	table     *storage.Table   // NinjaOneSyncState
	blobs     *storage.Container
	syncQueue *storage.Queue
	cipp      *cipp.Store
	secrets   *cipp.Secrets
	ledger    *ledger.Ledger
	runs      *runs.Store
	statuses  assignments.Statuses
	cveFiles  vulnerabilities.Files
	told      *problems.Book

	transport http.RoundTripper
	reader    *m365.Reader
	ninjaOne  ninjaone.Deps  // less the instance and client id, which are set in CIPP
	clients   *ninjaone.Pool // paced by syncPace: for syncs and automap
	gate      *ninjaone.Gate // of all calls to NinjaOne
	pace      *pacing.Pace
	syncPace  *pacing.Pacer
	pacers    []*pacing.Pacer // all
	// interactive is for the few calls of a person at a page, who cannot wait
	// for a slot.
	interactive *ninjaone.Pool

	layout     *layout.Guard
	heart      *heartbeat.Heart
	hold       *engine.Hold
	scheduler  *schedule.Scheduler
	syncer     *tenantsync.Syncer
	untold     *tenantsync.Unrecorded
	mapper     *automap.Mapper
	receiver   *notify.Receiver
	keeper     *subscriptions.Keeper
	watcher    *changes.Watcher
	compliance *compliance.Worker
	// vulnerabilities is for messages. Previews call NinjaOne as a person at a page
	// does.
	vulnerabilities *vulnerabilities.Worker
	queues          []queueFunction
	poison          *poison.Watch
	alarms          *alarm.Watch
}

// open puts the packages together. Log lines of at least the level that is
// set, and no less than least, go to out.
func open(getenv func(string) string, out io.Writer, least slog.Level) (*app, error) {
	settings, err := config.FromEnvironment(getenv)
	if err != nil {
		return nil, err
	}
	a := &app{config: settings, log: customhandler.NewLogger(out, max(settings.LogLevel, least))}
	if err := a.openStorage(getenv); err != nil {
		return nil, err
	}
	if a.telemetry, err = telemetry.Start(context.Background(), version, a.log); err != nil {
		a.log.Warn("the work goes on without telemetry", "error", err)
	}
	a.openServices()
	a.layout = &layout.Guard{Table: a.table, Tell: a.tellNewer, Now: time.Now}
	a.heart = &heartbeat.Heart{Table: a.table, Queue: a.own.Queue(heartbeat.QueueName), CIPP: a.cipp, Now: time.Now, Log: a.log}
	a.hold = &engine.Hold{CIPP: a.cipp, Runs: a.runs, Problems: a.told, Table: a.table, Queue: a.syncQueue, Graph: a.reader, Now: time.Now, Log: a.log}
	a.scheduler = &schedule.Scheduler{CIPP: a.cipp, Runs: a.runs, Problems: a.told, Queue: a.syncQueue, Now: time.Now, Log: a.log}
	a.openSyncs()
	a.openCompliance()
	a.openVulnerabilities()
	a.openQueues()
	return a, nil
}

// openStorage opens the app's own storage and CIPP's.
func (a *app) openStorage(getenv func(string) string) (err error) {
	if a.own, err = storage.Open(getenv, storage.Own); err != nil {
		return err
	}
	a.own = a.own.Upto(layout.Version)
	account, err := storage.Open(getenv, storage.CIPP)
	if err != nil {
		return err
	}
	a.cipp = cipp.New(cipp.Deps{
		Account:  account,
		Timezone: a.config.CIPPTimezone,
		SiteName: getenv("WEBSITE_SITE_NAME"),
		User:     func(ctx context.Context) string { return access.CallerOf(ctx).Name },
		Now:      time.Now,
		Log:      a.log,
	})
	if a.secrets, err = cipp.OpenSecrets(getenv, account); err != nil {
		return err
	}
	a.table = a.own.Table(layout.TableName)
	a.blobs = a.own.Container(tenantsync.ContainerName)
	a.syncQueue = a.own.Queue(tenantsync.QueueName)
	a.ledger = ledger.New(a.table)
	a.runs = runs.New(a.table)
	a.statuses = assignments.Statuses{Table: a.own.Table(assignments.TableName)}
	a.cveFiles = vulnerabilities.Files{Table: a.own.Table(vulnerabilities.TableName), Blobs: a.blobs}
	a.told = &problems.Book{Table: a.table, Log: a.cipp.Log, API: cipp.LogbookSync}
	return nil
}

// openServices makes the clients of Microsoft 365 and NinjaOne.
func (a *app) openServices() {
	connections := http.DefaultTransport.(*http.Transport).Clone()
	// A device's fields go out at once. Package net/http copies the rest of a larger body
	// through a new buffer of that size.
	connections.WriteBufferSize = 32 << 10
	connections.MaxIdleConnsPerHost = 32
	connections.MaxResponseHeaderBytes = 256 << 10
	a.transport = a.telemetry.Transport(connections)
	a.reader = m365.New(m365.Deps{
		GraphEndpoint:    a.config.GraphEndpoint,
		LoginEndpoint:    a.config.LoginEndpoint,
		ExchangeEndpoint: a.config.ExchangeEndpoint,
		DefenderEndpoint: a.config.DefenderEndpoint,
		Application:      a.config.Application,
		Credentials:      a.secrets,
		Transport:        a.transport,
		Sleep:            retry.Sleep,
		Now:              time.Now,
		Log:              a.log,
	})
	a.ninjaOne = ninjaone.Deps{
		Endpoint: a.config.NinjaOneEndpoint,
		Secret: func(ctx context.Context, fresh bool) (string, error) {
			return a.secrets.Secret(ctx, cipp.SecretNinjaOne, fresh)
		},
		Rate:      a.config.NinjaOneRate,
		Meter:     ninjaone.Unmetered{}, // of clients that are tried out
		Transport: a.transport,
		Log:       a.log,
	}
	a.gate = ninjaone.NewGate()
	a.pace = pacing.NewPace(pacing.PaceDeps{
		Rows:   a.table,
		Limits: pacing.Limits{Start: a.config.NinjaOneRate, Max: a.config.NinjaOneRateMax},
		Hold:   a.gate.Hold,
		Now:    time.Now,
		Log:    a.log,
	})
	a.clients, a.syncPace = a.lane(pacing.Config{Lane: pacing.Lane{Name: "sync", Slots: a.config.SyncSlots}}, 1-complianceShare-interactiveShare)
	people := a.pace.Part("people", interactiveShare, false)
	a.interactive = a.pool(people)
	people.Drive(a.interactive.SetRate)
	a.ninjaOne.Rate *= interactiveShare // of clients that are tried out
}

// pool returns clients whose calls count to a part of the pace.
func (a *app) pool(part *pacing.Part) *ninjaone.Pool {
	d := a.ninjaOne
	d.Gate, d.Meter = a.gate, part
	return ninjaone.NewPool(d)
}

// lane returns clients with a share of the pace, which all processes divide among
// them by leases.
func (a *app) lane(config pacing.Config, share float64) (*ninjaone.Pool, *pacing.Pacer) {
	part := a.pace.Part(config.Name, share, true)
	clients := a.pool(part)
	config.Blobs, config.Board, config.SetRate, config.Logger = a.blobs, a.pace, clients.SetRate, a.log
	pacer := pacing.New(config)
	a.pacers = append(a.pacers, pacer)
	part.Drive(pacer.SetRate)
	part.Press(pacer.Press)
	return clients, pacer
}

// openSyncs puts together what syncs and maps tenants.
func (a *app) openSyncs() {
	names := &tenantsync.KeptNames{Fetch: m365.NewSKUNames(a.config.SKUNamesURL, a.transport, time.Now, a.log).Names, Blobs: a.blobs, Log: a.log}
	a.untold = &tenantsync.Unrecorded{CIPP: a.cipp, Runs: a.runs, Problems: a.told, Now: time.Now, Log: a.log}
	a.syncer = &tenantsync.Syncer{
		CIPP:     a.cipp,
		Reader:   a.reader,
		NinjaOne: a.clientOf(a.clients),
		SKUNames: names.Names, KeepNames: names.Keep,
		Documents: &documents.Syncer{
			CIPP:   a.cipp,
			Ledger: a.ledger,
			Blobs:  a.blobs,
			Now:    time.Now,
			Log:    a.log,
		},
		Exposures: a.cveFiles,
		Ledger:    a.ledger,
		Policies:  policies.New(a.table),
		Table:     a.table,
		Runs:      a.runs,
		Blobs:     a.blobs,
		Queue:     a.syncQueue,
		Subscribe: func(ctx context.Context, tenantID string) { a.keeper.AfterSync(ctx, tenantID) },
		Within: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, a.config.SyncTimeBudget)
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
		NinjaOne: a.clientOf(a.clients),
		Blobs:    a.blobs,
		Queue:    a.own.Queue(automap.QueueName),
		Budget:   runTime(a.config),
		Within:   context.WithTimeout,
		Now:      time.Now,
		Log:      a.log,
	}
}

// openCompliance puts together what keeps compliance right between syncs.
func (a *app) openCompliance() {
	queue := a.own.Queue(notify.QueueName)
	clients, pace := a.lane(pacing.Config{Lane: pacing.Lane{Name: "compliance", Slots: complianceSlots}, RunsPerSlot: runsPerSlot}, complianceShare)
	assigned := assignments.New(assignments.Deps{CIPP: a.cipp, Off: a.hold.GivenBack, Now: time.Now})
	a.receiver = notify.New(notify.Deps{Subscriptions: subscriptions.Known(a.statuses.Table), Queue: queue, Now: time.Now, Log: a.log})
	a.keeper = subscriptions.New(subscriptions.Deps{
		CIPP:        a.cipp,
		Assignments: assigned,
		Graph:       a.reader,
		Table:       a.statuses.Table,
		Blobs:       a.blobs,
		Queue:       queue,
		Problems:    &problems.Book{Table: a.table, Log: a.cipp.Log, API: cipp.LogbookCompliance},
		BaseURL:     a.config.PublicBaseURL,
		Now:         time.Now,
		Log:         a.log,
	})
	a.watcher = changes.New(changes.Deps{
		CIPP:         a.cipp,
		Runs:         a.runs,
		Off:          a.hold.GivenBack,
		Microsoft365: a.reader,
		NinjaOne:     a.clientOf(a.interactive),
		Ledger:       a.ledger,
		Table:        a.own.Table(changes.TableName),
		Blobs:        a.blobs,
		Queue:        a.own.Queue(changes.QueueName),
		Syncs:        a.syncQueue,
		Compliance:   queue,
		Every:        a.config.Watch,
		Now:          time.Now,
		Log:          a.log,
	})
	a.compliance = compliance.New(compliance.Deps{
		Assignments: assigned,
		Statuses:    a.statuses,
		Devices:     a.reader,
		Seen:        a.watcher.DevicesSince,
		NinjaOne:    a.clientOf(clients),
		Pace:        slotsOf(pace),
		Ledger:      a.ledger,
		Policies:    policies.New(a.table),
		Books:       devicematch.NewBooks(a.cipp, a.blobs, time.Now),
		Queue:       queue,
		OnEvent:     a.keeper.Handle,
		SweepEvery:  a.config.ComplianceSweep,
		Now:         time.Now,
		Log:         a.log,
	})
}

// openVulnerabilities puts together what uploads CVEs.
func (a *app) openVulnerabilities() {
	a.vulnerabilities = vulnerabilities.New(vulnerabilities.Deps{
		CIPP:     a.cipp,
		Defender: a.reader,
		NinjaOne: a.clientOf(a.clients),
		Files:    a.cveFiles,
		Queue:    a.own.Queue(vulnerabilities.QueueName),
		Problems: a.told,
		Runs:     a.runs,
		Off:      a.hold.GivenBack,
		Budget:   runTime(a.config),
		Now:      time.Now,
		Log:      a.log,
	})
}

// openQueues puts together what looks at the queues of the queue functions.
func (a *app) openQueues() {
	a.queues = a.queueFunctions()
	a.poison = &poison.Watch{CIPP: a.cipp, Table: a.table, Most: 1000, Now: time.Now}
	a.alarms = &alarm.Watch{Now: time.Now, Log: a.log}
	for _, f := range a.queues {
		f.failed.Queue, f.failed.Poison, f.failed.API = a.own.Queue(f.queue), a.own.Queue(f.queue+poison.Suffix), f.logbook
		a.poison.Sources = append(a.poison.Sources, f.failed)
		a.alarms.Queues = append(a.alarms.Queues, alarm.Watched{Queue: f.failed.Queue, Poison: f.failed.Poison, Patience: f.patience})
	}
}

// queueFunction returns a queue function by its name; the zero value for others.
func (a *app) queueFunction(name string) queueFunction {
	if i := slices.IndexFunc(a.queues, func(f queueFunction) bool { return f.name == name }); i >= 0 {
		return a.queues[i]
	}
	return queueFunction{}
}

// console is our page. Its previews call NinjaOne as a person at a page does.
func (a *app) console(getenv func(string) string, guard *access.Guard, web *settings.Handlers) *console.Console {
	preview, uploads := *a.syncer, *a.vulnerabilities
	preview.NinjaOne, uploads.NinjaOne = a.clientOf(a.interactive), a.clientOf(a.interactive)
	return console.New(console.Deps{
		CIPP:       a.cipp,
		Secrets:    a.secrets,
		Guard:      guard,
		Settings:   web,
		Preview:    &preview,
		CVEFiles:   a.cveFiles,
		CVEUploads: &uploads,
		Ledger:     a.ledger,
		Runs:       a.runs,
		Blobs:      a.blobs,
		Engine:     a.hold,
		Poison:     a.poison,
		Check:      a.checker(getenv),
		Timers:     a.heart.InPlace,
		Compliance: a.statuses.All,
		Pace:       a.paceOf,
		Watched:    a.watcher.States,
		Now:        time.Now,
		Log:        a.log,
	})
}

// slotsOf returns how package compliance waits for slots of a pace.
func slotsOf(p *pacing.Pacer) func(context.Context, time.Duration) (context.Context, func(), error) {
	return func(ctx context.Context, maxWait time.Duration) (context.Context, func(), error) {
		slot, err := p.Acquire(ctx, maxWait)
		if err != nil {
			return nil, nil, err
		}
		return slot.Context(), slot.Release, nil
	}
}

// clientOf returns how a pool's client is found for the instance and API
// application that are set in CIPP.
func (a *app) clientOf(p *ninjaone.Pool) func(cipp.ExtensionConfig) (*ninjaone.Client, error) {
	return func(c cipp.ExtensionConfig) (*ninjaone.Client, error) {
		client, err := p.Client(c.Instance, c.ClientID)
		if err == nil {
			a.pace.Watch(client.Instance())
		}
		return client, err
	}
}

// paceOf tells people of the pace of the instance that is set in CIPP.
func (a *app) paceOf(ctx context.Context, c cipp.ExtensionConfig) (pacing.View, error) {
	client, err := a.interactive.Client(c.Instance, c.ClientID)
	if err != nil {
		return pacing.View{}, nil // the page says what is wrong with the settings
	}
	return a.pace.View(ctx, client.Instance())
}
