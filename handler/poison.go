package main

import (
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/compliance"
	"cipp-ninjaone/handler/internal/heartbeat"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// poisoned is what looks after the messages that failed too often.
func (a *app) poisoned() *poison.Watch {
	source := func(queue, function string, s poison.Source) poison.Source {
		s.Queue, s.Poison, s.API = a.own.Queue(queue), a.own.Queue(queue+poison.Suffix), logbookName[function]
		return s
	}
	return &poison.Watch{
		Sources: []poison.Source{
			source(tenantsync.QueueName, "SyncTenant", poison.Source{
				One:  "The sync of %s was not done.",
				All:  "A sync was not done.",
				Then: "The schedule syncs the tenant again at its next turn, unless it is paused; to sync it sooner, put the message back or, where it is paused, press Sync now.",
				Why:  a.untold.Why,

				Queued: a.runs.MarkQueued,
			}),
			source(automap.QueueName, "Automap", poison.Source{
				One:  "The search for the NinjaOne organization of %s was not done.",
				All:  "The search for NinjaOne organizations was not finished.",
				Then: "It is not done again by itself: put the message back, or start the search again on the console under Organizations.",
			}),
			source(compliance.QueueName, "UpdateCompliance", poison.Source{
				One:  "An update of device compliance of %s was not done.",
				All:  "An update of device compliance was not done.",
				Then: "The next sweep of the tenant, every 15 minutes unless set otherwise, finds the same change; to have it sooner, put the message back.",
			}),
			source(heartbeat.QueueName, heartbeat.FunctionName, poison.Source{
				One:  "A look whether the timers still fire was not taken, for %s.",
				All:  "A look whether the timers still fire was not taken.",
				Then: "The next timer, or the next start of the app, queues another: this one can be removed.",
			}),
		},
		CIPP: a.cipp, Table: a.table,
	}
}

// A message waits this long at most: a sync or an automap behind the first
// syncs of very many tenants, an update of compliance behind nothing but others
// of its kind.
const (
	syncPatience       = 12 * time.Hour
	compliancePatience = time.Hour
)

// alarms is what raises an alarm when a queue is not worked off, or messages
// failed too often.
func (a *app) alarms(failed *poison.Watch) *alarm.Watch {
	w := &alarm.Watch{Now: time.Now, Log: a.log}
	for _, s := range failed.Sources {
		q := alarm.Watched{Queue: s.Queue, Poison: s.Poison, Patience: syncPatience}
		if s.Queue.Name() == compliance.QueueName {
			q.Patience = compliancePatience
		}
		w.Queues = append(w.Queues, q)
	}
	return w
}
