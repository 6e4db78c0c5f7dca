package changes_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/changes"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestAfterARest keeps a tenant from being synced while a light run waits, and when a
// device arrives in NinjaOne. The first look after that asks for what was missed.
func TestAfterARest(t *testing.T) {
	for name, rest := range map[string]func(w *watch, rest bool){
		"paused": func(w *watch, rest bool) {
			must(t, runs.New(w.Own.Table("NinjaOneSyncState")).Pause(t.Context(), w.id, rest))
			w.Clock.Advance(time.Minute)
		},
		"excluded": func(w *watch, rest bool) {
			w.Merge("Tenants", storage.Entity{"PartitionKey": "Tenants", "RowKey": w.id, "Excluded": rest})
		},
		"turned off": func(w *watch, rest bool) {
			row, err := w.App.Table("Extensionsconfig").Get(t.Context(), "CippExtensions", "Config")
			must(t, err)
			var config map[string]map[string]any
			must(t, json.Unmarshal([]byte(row.String("config")), &config))
			config["NinjaOne"]["Enabled"] = !rest
			text, err := json.Marshal(config)
			must(t, err)
			w.Merge("Extensionsconfig", storage.Entity{"PartitionKey": "CippExtensions", "RowKey": "Config", "config": string(text)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, 2)
			run := func(m tenantsync.Message) {
				t.Helper()
				must(t, w.Process.Syncer.Run(t.Context(), m))
			}
			tick := func() {
				t.Helper()
				w.Clock.Advance(6 * time.Minute)
				must(t, w.Process.Watcher.Tick(t.Context()))
				w.Syncs.Take()
			}
			quiet := func(when string) {
				t.Helper()
				if syncs, _ := w.look(); len(syncs) > 0 {
					t.Errorf("%s a look sent %+v", when, syncs)
				}
			}
			w.look()
			tick() // notes which activity is the last
			quiet("before the change")

			w.change(func(o *m365sim.Tenant) { set(o.ManagedDevices, 0, "osVersion", "10.0.77777.1") })
			syncs, _ := w.look()
			if len(syncs) != 1 {
				t.Fatalf("the change sent %v", syncs)
			}
			rest(w, true)
			run(syncs[0])
			rest(w, false)
			syncs, _ = w.look()
			if len(syncs) != 1 || syncs[0].Devices || !strings.Contains(w.state().Found, "while the tenant was paused or excluded") {
				t.Fatalf("after the rest a look sent %+v: %+v", syncs, w.state())
			}
			quiet("while the light run waits")
			run(syncs[0])
			if !strings.Contains(strings.Join(w.shown(), "\n"), "10.0.77777.1") {
				t.Error("NinjaOne does not show the change")
			}
			quiet("after the light run")

			rest(w, true)
			w.NinjaOne.AddDevice(ninjasim.Device{ID: 99001, OrganizationID: w.Seed.Organization(w.id), SystemName: "NEW-01"})
			tick()
			rest(w, false)
			tick()
			if syncs, _ = w.look(); name != "turned off" && (len(syncs) != 1 || !syncs[0].Devices) {
				t.Errorf("after the rest a look sent %+v", syncs)
			}
			for _, m := range syncs {
				run(m)
			}
			quiet("after the run that read the devices")
		})
	}
}

// TestLookDuringAPause drops a tenant's look in a pause: the first timer after the
// pause queues another.
func TestLookDuringAPause(t *testing.T) {
	w := newWatch(t, 2)
	history := runs.New(w.Own.Table("NinjaOneSyncState"))
	queued := func(after time.Duration) bool {
		t.Helper()
		w.Clock.Advance(after)
		must(t, w.Process.Watcher.Tick(t.Context()))
		return slices.ContainsFunc(w.Looks.Take(), func(m changes.Message) bool { return m.TenantID == w.id })
	}
	pause := func(paused bool) {
		t.Helper()
		must(t, history.Pause(t.Context(), w.id, paused))
	}
	w.look()
	if !queued(5 * time.Minute) {
		t.Fatal("no look is queued")
	}
	pause(true)
	w.Clock.Advance(time.Minute)
	before := w.state().Looked
	if err := w.Process.Watcher.Look(t.Context(), changes.Message{TenantID: w.id}); err != nil || !w.state().Looked.Equal(before) {
		t.Fatalf("a look in the pause: %v, %+v", err, w.state())
	}
	if queued(time.Minute) {
		t.Error("a look is queued in the pause")
	}
	pause(false)
	if !queued(time.Minute) {
		t.Error("no look is queued after the pause")
	}
}
