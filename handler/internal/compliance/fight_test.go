package compliance_test

import (
	"context"
	"testing"

	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// between lets something happen between a sync's reading and its writing.
type between struct {
	tenantsync.Reader
	happens func()
}

func (b between) Read(ctx context.Context, ref tenant.Ref, known *tenant.Known) (*tenant.Snapshot, error) {
	s, err := b.Reader.Read(ctx, ref, known)
	b.happens()
	return s, err
}

func TestTheSyncAndTheNotificationsDoNotFight(t *testing.T) {
	tests := map[string]struct {
		read, meanwhile string // states: as the sync read it, and by the time it writes
		sweep           bool   // the change is found by a sweep in place of a notification
		force           bool
		want            string
	}{
		"it got worse":                         {"compliant", "noncompliant", false, false, "Non-Compliant"},
		"it got better":                        {"noncompliant", "compliant", false, false, "Compliant"},
		"it got worse, forced sync":            {"compliant", "noncompliant", false, true, "Non-Compliant"},
		"it got better, forced sync":           {"noncompliant", "compliant", false, true, "Compliant"},
		"it got worse, found by a sweep":       {"compliant", "noncompliant", true, false, "Non-Compliant"},
		"it got better, found by a sweep":      {"noncompliant", "compliant", true, false, "Compliant"},
		"it is unknown now":                    {"noncompliant", "unknown", false, false, ""},
		"nothing happened, and the sync is it": {"noncompliant", "noncompliant", false, false, "Non-Compliant"},
	}
	w, all := running(t, 1, 4)
	p := all[0][0]
	reader := w.Process.Syncer.Reader
	w.fails(p, "RequireEncryption")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.Process.Syncer.Reader = reader
			w.Set(p, "compliant")
			w.Sync(p.TenantID)
			w.WantField(p, "Compliant")
			w.Set(p, tt.read)
			w.Process.Syncer.Reader = between{reader, func() {
				w.Set(p, tt.meanwhile)
				if tt.sweep {
					w.Sweep(p.TenantID)
					return
				}
				m := notify.Message{TenantID: p.TenantID, DeviceIDs: []string{p.Object}}
				if err := w.Process.Worker.Update(t.Context(), m, 1); err != nil {
					t.Error(err)
				}
			}}
			must(t, w.Process.Syncer.Run(t.Context(), tenantsync.Message{TenantID: p.TenantID, Force: tt.force}))
			settings := map[string][]string{"Non-Compliant": {"Baseline: RequireEncryption"}}[tt.want]
			w.WantField(p, tt.want)
			w.wantSettings(p, settings...)
			for _, other := range all[0][1:] {
				w.WantField(other, "Compliant")
			}
			// And what is noted is what NinjaOne shows: a sweep has nothing to do.
			before := len(w.NinjaOne.Writes())
			w.Sweep(p.TenantID)
			if n := len(w.NinjaOne.Writes()) - before; n != 0 {
				t.Errorf("a sweep after it wrote %d fields", n)
			}
			w.WantField(p, tt.want)
			w.wantSettings(p, settings...)
		})
	}
	w.NoViolations()
}
