package main

import (
	"context"
	"time"

	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/pacing"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// The slots of compliance updates. They write one field at a time, so many of
// them share a slot.
const (
	complianceSlots = 2
	runsPerSlot     = 16
)

// watch puts package compliance together and registers its functions. The
// keeper is what a sync tells of its end.
func (a *app) watch(server *customhandler.Server, getenv func(string) string) *compliance.Keeper {
	table, queue := a.own.Table(compliance.TableName), a.own.Queue(compliance.QueueName)
	clients := ninjaone.NewPool(a.ninjaOne)
	syncs, updates := lanes(a.config)
	pace := pacing.New(pacing.Config{
		Blobs:       a.blobs,
		Lane:        updates,
		RunsPerSlot: runsPerSlot,
		Borrow:      []pacing.Lane{syncs},
		SetRate:     clients.SetRate,
		Logger:      a.log,
	})
	assignments := &compliance.Assignments{CIPP: a.cipp, Off: a.hold.GivenBack, Now: time.Now}
	keeper := &compliance.Keeper{
		CIPP:        a.cipp,
		Assignments: assignments,
		Graph:       a.reader,
		Table:       table,
		Blobs:       a.blobs,
		Queue:       queue,
		Problems:    &problems.Book{Table: a.table, Log: a.cipp.Log, API: compliance.LogbookName},
		BaseURL:     a.config.PublicBaseURL,
		Now:         time.Now,
		Log:         a.log,
	}
	worker := &compliance.Worker{
		CIPP:        a.cipp,
		Assignments: assignments,
		Devices:     a.reader,
		NinjaOne:    clientOf(clients),
		Pace:        pace,
		Ledger:      a.ledger,
		Blobs:       a.blobs,
		Table:       table,
		Queue:       queue,
		Keeper:      keeper,
		Now:         time.Now,
		Log:         a.log,
	}
	sweeper := &compliance.Sweeper{
		Assignments: assignments,
		Table:       table,
		Queue:       queue,
		Every:       a.config.ComplianceSweep,
		Now:         time.Now,
		Log:         a.log,
	}
	server.HTTP("ReceiveNotifications", compliance.Route, compliance.NewReceiver(table, queue, time.Now, a.log))
	server.Queue("UpdateCompliance", func(ctx context.Context, q customhandler.QueueMessage) error {
		m, err := compliance.ParseMessage(q.Text)
		if err != nil {
			return customhandler.BadMessage(err.Error())
		}
		return a.layout.PutBack(ctx, queue, q.Text, worker.Update(ctx, m, q.DequeueCount))
	}, customhandler.WithTimeout(invocationTime(a.config)))
	a.timer(server, getenv, "SweepCompliance", sweeper.Tick)
	a.timer(server, getenv, "RenewSubscriptions", keeper.Reconcile, customhandler.WithTimeout(invocationTime(a.config)))
	return keeper
}

// andWatch makes sure of the tenant's subscription after each of its syncs.
func andWatch(keeper *compliance.Keeper, run func(context.Context, tenantsync.Message) error) func(context.Context, tenantsync.Message) error {
	return func(ctx context.Context, m tenantsync.Message) error {
		if err := run(ctx, m); err != nil {
			return err
		}
		keeper.AfterSync(ctx, m.TenantID)
		return nil
	}
}
