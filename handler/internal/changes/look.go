package changes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/words"
)

// linksLife is how long links serve while nothing changes; Graph knows them for
// seven days.
const linksLife = 24 * time.Hour

// maxProblem is the longest text of a problem, far below what a column holds.
const maxProblem = 2000

// list is Intune's list of a tenant's devices as a look saw it.
type list struct {
	Read    time.Time `json:"read"`
	Devices []listed  `json:"devices"`
}

// listed is a managed device with what compliance needs of it, and the digest of
// all that NinjaOne shows.
type listed struct {
	ID            string `json:"id"`
	EntraDeviceID string `json:"entraDeviceId,omitempty"`
	State         string `json:"state,omitempty"` // complianceState
	Digest        string `json:"digest"`
	// LastSync is the last check-in of a device that does not comply: its policies
	// are read again after each.
	LastSync time.Time `json:"lastSync,omitzero"`
}

// listOf makes a list of devices, in order of their ids.
func listOf(devices []tenant.ManagedDevice, read time.Time) (l list, digest string, err error) {
	l.Read = read.UTC()
	for _, d := range devices {
		one := listed{ID: d.ID, EntraDeviceID: d.AzureADDeviceID, State: d.ComplianceState}
		if tenant.Judge(d.ComplianceState) == tenant.Violates {
			one.LastSync = d.LastSync.UTC()
		}
		d.LastSync = time.Time{} // it moves every day by itself
		body, err := json.Marshal(d)
		if err != nil {
			return list{}, "", err
		}
		one.Digest = ledger.Sum(body)
		l.Devices = append(l.Devices, one)
	}
	slices.SortFunc(l.Devices, func(a, b listed) int { return strings.Compare(a.ID+a.Digest, b.ID+b.Digest) })
	body, err := json.Marshal(l.Devices)
	return l, ledger.Sum(body), err
}

// compare counts the devices that differ between two lists, and reports whether
// compliance may.
func (l list) compare(before list) (changed int, compliance bool) {
	known := make(map[string]listed, len(before.Devices))
	for _, d := range before.Devices {
		known[d.ID] = d
	}
	for _, d := range l.Devices {
		old, there := known[d.ID]
		delete(known, d.ID)
		if old.Digest != d.Digest {
			changed++
			compliance = compliance || !there || old.State != d.State || old.EntraDeviceID != d.EntraDeviceID
		}
	}
	return changed + len(known), compliance || len(known) > 0
}

// look is one look at a tenant.
type look struct {
	*Watcher
	tenant  roster.Tenant
	light   runs.Light
	state   State
	links   links
	began   time.Time
	seen    time.Time      // when what changed was known
	found   map[string]int // objects that changed, by what they are; -1 where they were read anew, 0 for something else
	failed  []string
	devices *list // nil where it was not read or did not change
	urgent  bool  // compliance changed
}

// Look looks what changed in a tenant since the look before, and asks for a light
// run where something did. Nothing is forgotten before the messages are sent: a
// look that stops on its way finds the same again.
func (w *Watcher) Look(ctx context.Context, m Message) error {
	if w.Every <= 0 {
		return nil
	}
	all, err := w.watched(ctx)
	if err != nil {
		return err
	}
	t, ok := all.tenants[m.TenantID]
	if !ok {
		w.Log.DebugContext(ctx, "the tenant is not watched; the message is dropped", "tenant", m.TenantID)
		// Once it is watched again, nobody waits for this message.
		return w.Table.Merge(ctx, queuedRow(m.TenantID, time.Unix(0, 0)))
	}
	l := &look{Watcher: w, tenant: t, light: all.lights[t.ID], began: w.Now().UTC(), found: map[string]int{}}
	if err := l.recall(ctx); err != nil {
		return err
	}
	if l.began.Sub(l.state.Looked) < w.Every/2 {
		return nil // the message came twice
	}
	if err := l.ask(ctx); err != nil {
		return l.fails(ctx, err)
	}
	l.seen = w.Now().UTC()
	return l.conclude(ctx)
}

// recall reads what the look before left.
func (l *look) recall(ctx context.Context) error {
	id := l.tenant.ID
	row, err := l.Table.Find(ctx, partition, tenantPrefix+id)
	if err != nil {
		return fmt.Errorf("read how the watching of tenant %s stands: %w", id, err)
	}
	l.state = stateOf(row)
	l.state.TenantID = id
	row, err = l.Table.Find(ctx, partition, linksPrefix+id)
	if err != nil {
		return fmt.Errorf("read where the watching of tenant %s goes on: %w", id, err)
	}
	l.links = linksOf(row)
	return nil
}

// ask asks Microsoft 365: four lists for their changes, and Intune for its list.
// The error is for what concerns all of them.
func (l *look) ask(ctx context.Context) error {
	var changes m365.Changes
	var devices []tenant.ManagedDevice
	var devicesErr error
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		changes, err = l.Microsoft365.Changes(gctx, l.tenant.Ref, l.links.DeltaLinks)
		return err
	})
	group.Go(func() error {
		devices, devicesErr = l.Microsoft365.WatchedDevices(gctx, l.tenant.Ref)
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if len(changes.Failed) == len(linkColumns) && devicesErr != nil {
		return devicesErr
	}
	l.judge(changes)
	switch _, none := errors.AsType[*m365.NoIntuneError](devicesErr); {
	case none:
	case devicesErr != nil:
		l.fail(devicesErr)
	default:
		return l.compareDevices(ctx, devices)
	}
	return nil
}

func (l *look) fail(err error) { l.failed = append(l.failed, words.End(err.Error())) }

// judge takes in what changed in the lists.
func (l *look) judge(c m365.Changes) {
	fresh := l.links.given.IsZero()
	for list := range linkColumns {
		switch {
		case c.Failed[list] != nil:
			l.fail(c.Failed[list])
		case c.Anew[list]:
			l.found[string(list)] = -1
		case c.Changed[list] > 0:
			l.found[string(list)] = c.Changed[list]
		}
	}
	if fresh || len(l.found) > 0 || l.began.Sub(l.links.given) >= linksLife {
		l.links = links{c.Links, l.began}
	}
	slices.Sort(l.failed)
}

// compareDevices compares Intune's list with that of the look before.
func (l *look) compareDevices(ctx context.Context, devices []tenant.ManagedDevice) error {
	now, digest, err := listOf(devices, l.began)
	if err != nil {
		return err
	}
	if digest == l.state.list {
		l.state.listRead = l.began
		return nil
	}
	before, ended, err := l.lastList(ctx, l.tenant.ID, l.state.list)
	if err != nil {
		return err
	}
	l.devices, l.state.list, l.state.listRead = &now, digest, l.began
	if !ended { // nobody was told what changed since
		l.found["Intune devices"], l.urgent = -1, true
	} else if changed, compliance := now.compare(before); changed > 0 {
		l.found["Intune devices"], l.urgent = changed, compliance
	}
	return nil
}

// lastList reads the list of the look before, and reports whether it has the digest. A
// look that did not come to its end may have kept another list.
func (w *Watcher) lastList(ctx context.Context, tenantID, digest string) (l list, ended bool, err error) {
	kept, err := storage.FindJSON[list](ctx, w.Blobs, blobName(tenantID))
	if err != nil {
		return l, false, fmt.Errorf("read the Intune devices that the last look saw: %w", err)
	}
	if kept == nil {
		return l, false, nil
	}
	body, err := json.Marshal(kept.Devices)
	return *kept, err == nil && ledger.Sum(body) == digest, err
}

// conclude sends what follows from the look, and then notes it.
func (l *look) conclude(ctx context.Context) error {
	s := &l.state
	s.Looked, s.Failures, s.Problem = l.began, 0, words.Clip(strings.Join(l.failed, " "), maxProblem)
	if l.devices != nil {
		if err := l.Blobs.PutJSON(ctx, blobName(l.tenant.ID), l.devices); err != nil {
			return fmt.Errorf("keep the Intune devices of tenant %s: %w", l.tenant.ID, err)
		}
	}
	if l.urgent {
		if err := l.Compliance.Send(ctx, notify.Message{TenantID: l.tenant.ID}, 0); err != nil {
			return fmt.Errorf("ask for the compliance of tenant %s: %w", l.tenant.ID, err)
		}
	}
	missed, devices := l.missed()
	if missed {
		l.found["what changed while the tenant was paused or excluded"] = 0
	}
	if len(l.found) == 0 {
		s.Distance = 0
		if err := l.tellDamped(ctx); err != nil {
			return err
		}
		return l.save(ctx)
	}
	s.Found, s.FoundAt = l.words(), l.seen
	if err := l.Watcher.wake(ctx, s, l.seen, devices); err != nil {
		return err
	}
	l.Log.InfoContext(ctx, "changes found", "tenant", l.tenant.ID, "found", s.Found, "light", s.Due)
	if err := l.tellDamped(ctx); err != nil {
		return err
	}
	return l.save(ctx)
}

// missed reports whether the last light run was dropped, and no run since has read what
// it was for. The sync drops a run when the tenant is paused or its data goes nowhere.
// Its result devices says that NinjaOne's devices changed.
func (l *look) missed() (missed, devices bool) {
	left := func(at, asked, read time.Time) bool { return !at.IsZero() && !at.Before(asked) && at.After(read) }
	full := Fresh(l.tenant.Run, runs.Light{}, State{})
	devices = left(l.light.MissedDevices, l.state.DevicesDue, full)
	return devices || left(l.light.Missed, l.state.Due, Fresh(l.tenant.Run, l.light, State{})), devices
}

// wake asks for a light run, unless one that was asked for is still to come. The run
// comes at once, or as long after the one before as the tenant's distance says. Looks
// that keep finding changes double the distance, each kind of look its own.
func (w *Watcher) wake(ctx context.Context, s *State, now time.Time, devices bool) error {
	waiting, distance := s.Due, &s.Distance
	if devices {
		waiting, distance = s.DevicesDue, &s.DevicesDistance
		if now.Sub(waiting) >= 2*max(*distance, w.Every) {
			*distance = 0 // there were looks that found nothing
		}
	}
	if waiting.After(now) {
		return nil
	}
	due := now
	if next := s.Due.Add(max(*distance, w.Every)); !s.Due.IsZero() && next.After(now) {
		due = next
	}
	*distance = max(w.Every, min(2**distance, longest))
	m := tenantsync.Message{TenantID: s.TenantID, Light: true, Devices: devices}
	if due.After(now) {
		m.Due = due // what is found until then sends no other
	}
	if err := w.Syncs.Send(ctx, m, due.Sub(now)); err != nil {
		return fmt.Errorf("ask for a light run of tenant %s: %w", s.TenantID, err)
	}
	s.Due = due
	if devices {
		s.DevicesDue = due
	}
	return nil
}

// damps reports whether damping holds light runs as far apart as it may.
func (w *Watcher) damps(distance time.Duration) bool {
	return distance >= longest && distance > w.Every
}

// tellDamped tells the logbook once that a tenant changes all the time, or that its
// devices do in NinjaOne, and once that it does not any more.
func (l *look) tellDamped(ctx context.Context) error {
	s := &l.state
	all := l.damps(s.Distance)
	devices := l.damps(s.DevicesDistance) && l.began.Sub(s.DevicesDue) < 2*s.DevicesDistance
	if s.Damped == (all || devices) {
		return nil
	}
	s.Damped = !s.Damped
	line := "The tenant does not change all the time any more: its changes reach NinjaOne within minutes again."
	switch {
	case all:
		line = fmt.Sprintf("The tenant changes all the time (%s at last). So its changes reach NinjaOne once an hour, not within minutes. "+
			"Look for a script or a synchronisation that writes the same objects over and over.", s.Found)
	case devices:
		line = "The tenant's devices change all the time in NinjaOne. So those that come, leave or move show once an hour, not within minutes. " +
			"Look for a script that changes the same devices over and over."
	}
	return l.CIPP.Log(ctx, cipp.LogEntry{Tenant: l.tenant.DefaultDomain, TenantID: l.tenant.ID, API: cipp.LogbookSync, Severity: cipp.SeverityInfo, Message: line})
}

// words says what was found.
func (l *look) words() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(l.found)) {
		switch n := l.found[what]; {
		case n < 0:
			what += " (read anew)"
		case n > 0:
			what += fmt.Sprintf(" %d", n)
		}
		parts = append(parts, what)
	}
	return strings.Join(parts, ", ")
}

// save notes the look, in one transaction with the links where these changed.
func (l *look) save(ctx context.Context) error {
	rows := []storage.Operation{storage.MergeOp(l.state.row())}
	if l.links.given.Equal(l.began) {
		rows = append(rows, storage.ReplaceOp(l.links.row(l.tenant.ID)))
	}
	return storage.Doing(l.Table.WriteBatch(ctx, rows), "note the look at tenant %s", l.tenant.ID)
}

// fails notes a look that saw nothing. The tenant's next look comes later, and the
// sync tells the logbook why the tenant cannot be read.
func (l *look) fails(ctx context.Context, cause error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	ctx, done := storage.Noting(ctx)
	defer done()
	l.state.Looked, l.state.Problem = l.began, words.Clip(words.End(cause.Error()), maxProblem)
	l.state.Failures++
	l.Log.WarnContext(ctx, "a look at the tenant failed", "tenant", l.tenant.ID, "failures", l.state.Failures, "error", cause)
	l.links.given = time.Time{} // they stay as they are
	return l.save(ctx)
}

// DevicesSince returns the tenant's managed devices as the last look saw them, and when.
// They have ID, AzureADDeviceID and ComplianceState, and LastSync where they do not
// comply. The time is zero where no look has seen them after a time.
func (w *Watcher) DevicesSince(ctx context.Context, tenantID string, since time.Time) ([]tenant.ManagedDevice, time.Time, error) {
	row, err := w.Table.Find(ctx, partition, tenantPrefix+tenantID)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read how the watching of tenant %s stands: %w", tenantID, err)
	}
	s := stateOf(row)
	if s.list == "" || !s.listRead.After(since) {
		return nil, time.Time{}, nil
	}
	l, ended, err := w.lastList(ctx, tenantID, s.list)
	if err != nil || !ended {
		return nil, time.Time{}, err
	}
	out := make([]tenant.ManagedDevice, len(l.Devices))
	for i, d := range l.Devices {
		out[i] = tenant.ManagedDevice{ID: d.ID, AzureADDeviceID: d.EntraDeviceID, ComplianceState: d.State, LastSync: d.LastSync}
	}
	return out, s.listRead, nil
}

// Fresh is since when, at least, NinjaOne shows a tenant as it was. It is the beginning
// of the last completed run, full or light, or a later look that found nothing.
func Fresh(run runs.Run, light runs.Light, s State) time.Time {
	fresh := light.Fresh
	if run.Status == runs.Completed && run.Start.After(fresh) {
		fresh = run.Start
	}
	if fresh.After(s.FoundAt) && s.Looked.After(fresh) && s.Failures == 0 {
		fresh = s.Looked
	}
	return fresh
}
