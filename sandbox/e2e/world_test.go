package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/queueerror"
	"github.com/google/uuid"

	"cipp-ninjaone/sandbox/collector"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// patience bounds every wait. It is no measure of speed: a test that waits
// this long has failed.
const patience = 10 * time.Minute

// syncQueue carries one tenant per message.
const syncQueue = "ninjaone-sync"

// world is one running bundle with everything around it.
type world struct {
	*stack.Stack
	t       testing.TB
	blobs   *azblob.Client
	options []option
	// telemetry receives what the handler sends of itself, in every test.
	telemetry *collector.Collector

	mu      sync.Mutex
	changed *sync.Cond
	done    []funchost.Invocation
	lines   []string
}

// option changes how the bundle is run.
type option func(*funchost.Config)

// setting adds an app setting to those of the stack.
func setting(name, value string) option {
	return func(c *funchost.Config) { c.Settings[name] = value }
}

// oneAtATime makes the host handle one queue message after the other.
func oneAtATime(c *funchost.Config) {
	c.Settings["AzureFunctionsJobHost__extensions__queues__batchSize"] = "1"
	c.Settings["AzureFunctionsJobHost__extensions__queues__newBatchThreshold"] = "0"
}

// start runs the bundle on the seed, and checks at the end of the test what
// holds in every test.
func start(t testing.TB, data *seed.Seed, options ...option) *world {
	t.Helper()
	return startOn(t, stack.Options{Seed: data}, options...)
}

// startOn does what start does on a stack with options of its own.
func startOn(t testing.TB, o stack.Options, options ...option) *world {
	t.Helper()
	o.Storage = emulator.Apart()
	s, err := stack.Start(context.Background(), o)
	must(t, err)
	w := &world{Stack: s, t: t, options: options}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w.changed = sync.NewCond(&w.mu)
	w.telemetry = collector.Start(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})
	t.Cleanup(w.telemetry.Close)
	if w.blobs, err = azblob.NewClientFromConnectionString(s.Storage.ConnectionString(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			w.checkAlways()
		}
	})
	w.boot()
	return w
}

// generated returns a seed of small tenants, tenant-001.example onwards, mapped
// to organizations 100 onwards.
func generated(tenants int) *seed.Seed {
	return seed.Generate(seed.Size{Tenants: tenants, Users: 20, Devices: 12, Groups: 4})
}

// boot starts the host, or starts it again after it ended.
func (w *world) boot() {
	w.t.Helper()
	config := funchost.Config{
		AppRoot: appRoot,
		Settings: map[string]string{
			// As fast as the machine can; a message that a test sends is looked for at once.
			"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:02",
			"NINJAONE_RATE": "100000",
			"GOGC":          "400",
			"LOG_LEVEL":     "debug",

			"OTEL_EXPORTER_OTLP_ENDPOINT": w.telemetry.URL(),
			"OTEL_BSP_SCHEDULE_DELAY":     "500", // milliseconds
			"OTEL_METRIC_EXPORT_INTERVAL": "1000",
		},
		ShutdownWait: time.Second,
		// A message of a lost machine comes back as it does from the real host: not
		// before the leases of the machine have ended, 45 s after it was lost. It was
		// hidden again half of this time ago, at most.
		MessageInvisibility: 100 * time.Second,
		OnInvocation: func(i funchost.Invocation) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.done = append(w.done, i)
			w.changed.Broadcast()
		},
		OnLog: func(line string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lines = append(w.lines, line)
			w.changed.Broadcast()
		},
	}
	for _, o := range w.options {
		o(&config)
	}
	must(w.t, w.StartHost(context.Background(), config))
}

// restart ends the host and starts another.
func (w *world) restart() {
	w.t.Helper()
	w.Host.Stop()
	w.boot()
}

// rested ends the host and starts another, as if what NinjaOne asked for had passed:
// a pause that it asked for is remembered beyond the handler's end.
func (w *world) rested() {
	w.t.Helper()
	w.Host.Stop()
	for _, row := range w.rows(stateTable, "PartitionKey eq 'pace'") {
		w.remove(stateTable, "pace", row["RowKey"].(string))
	}
	w.boot()
}

// logged returns every line the handler wrote.
func (w *world) logged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines)
}

// logLine is a line of the handler's log.
type logLine struct {
	Time                       time.Time
	Organization               int
	Msg, Level, Tenant, Method string
	Status                     any
	Queued                     int
	Invocation, Error          string
	TraceID                    string `json:"trace_id"`
}

func parseLog(line string) (l logLine, ok bool) {
	return l, json.Unmarshal([]byte(line), &l) == nil
}

// await waits until found reports true. It is called with the world locked,
// again after every log line, every finished invocation and all telemetry.
func (w *world) await(what string, found func() bool) {
	w.t.Helper()
	late := time.Now().Add(patience)
	expired := time.AfterFunc(patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})
	defer expired.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !found() {
		if time.Now().After(late) {
			w.gaveUp(what, w.lines)
		}
		w.changed.Wait()
	}
}

// poll waits until found reports true of what no log line tells.
func (w *world) poll(what string, found func() bool) {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !found() {
		select {
		case <-tick.C:
		case <-late:
			w.gaveUp(what, w.logged())
		}
	}
}

// gaveUp ends the test, and tells what the handler logged last.
func (w *world) gaveUp(what string, lines []string) {
	w.t.Helper()
	w.t.Fatalf("waited %s for %s; the handler's last lines:\n%s", patience, what, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

// put puts a message on a queue. The returned function waits until it was
// handled.
func (w *world) put(queue, text string) (wait func() funchost.Invocation) {
	w.t.Helper()
	w.mu.Lock()
	seen := len(w.done)
	w.mu.Unlock()
	w.enqueue(queue, text)
	w.Host.Poll()
	return func() (handled funchost.Invocation) {
		w.t.Helper()
		w.await("the message "+text, func() bool {
			i := slices.IndexFunc(w.done[seen:], func(i funchost.Invocation) bool { return i.Message == text && !w.hindered(i) })
			if i < 0 {
				return false
			}
			handled = w.done[seen+i]
			return true
		})
		return handled
	}
}

// enqueue puts a message on a queue, for whoever comes.
func (w *world) enqueue(queue, text string) {
	w.t.Helper()
	must(w.t, w.Enqueue(context.Background(), queue, text))
}

// empty takes every message off a queue, hidden ones included.
func (w *world) empty(queue string) {
	w.t.Helper()
	if _, err := w.Queues.NewQueueClient(queue).ClearMessages(context.Background(), nil); err != nil && !queueerror.HasCode(err, queueerror.QueueNotFound) {
		w.t.Fatal(err)
	}
}

// hindered reports whether an invocation failed because the machine was too slow to
// renew a lease or to give it a slot: its message comes again, and that is what a test
// is about.
func (w *world) hindered(i funchost.Invocation) bool {
	of := func(l logLine) bool { return l.Invocation == i.ID }
	return i.Err != nil && (leaseLost(w.lines, of) || tells(w.lines, func(l logLine) bool {
		return strings.Contains(l.Error, "slot could be taken") && strings.Contains(l.Error, "did not answer within") && of(l)
	}))
}

// leaseLost reports whether lines of the handler's log tell of a lost lease.
func leaseLost(lines []string, of func(l logLine) bool) bool {
	return tells(lines, func(l logLine) bool { return strings.Contains(l.Error, "the lease was lost") && of(l) })
}

// tells reports whether the handler logged such a line.
func tells(lines []string, such func(l logLine) bool) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		l, ok := parseLog(line)
		return ok && such(l)
	})
}

// send puts a message on a queue and waits until it was handled.
func (w *world) send(queue, text string) funchost.Invocation {
	w.t.Helper()
	return w.put(queue, text)()
}

// waiting returns how many messages a queue holds, hidden ones included.
func (w *world) waiting(queue string) int32 {
	w.t.Helper()
	p, err := w.Queues.NewQueueClient(queue).GetProperties(context.Background(), nil)
	if queueerror.HasCode(err, queueerror.QueueNotFound) {
		return 0
	}
	must(w.t, err)
	return *p.ApproximateMessagesCount
}

// tenant returns the simulated tenant with the default domain.
func (w *world) tenant(domain string) *m365sim.Tenant {
	w.t.Helper()
	t := w.Seed.Tenant(domain)
	if t == nil {
		w.t.Fatalf("the seed has no tenant %s", domain)
	}
	return t
}

// outcome is what one run did, as seen from outside.
type outcome struct {
	t       testing.TB
	status  string           // lastStatus of CIPP's mapping row
	lines   []string         // new lines of the tenant's logbook, "Severity: message"
	writes  []ninjasim.Write // what NinjaOne accepted meanwhile
	calls   map[string]int   // calls to NinjaOne by method and path
	message funchost.Invocation
	handler []string // what the handler logged of the tenant meanwhile
}

// sync runs one tenant's sync as a queue message would.
func (w *world) sync(domain string) *outcome {
	w.t.Helper()
	return w.syncMessage(domain, fmt.Sprintf(`{"tenantId":%q,"force":false}`, w.tenant(domain).ID))
}

// force runs one tenant's sync that rewrites every field.
func (w *world) force(domain string) *outcome {
	w.t.Helper()
	return w.syncMessage(domain, fmt.Sprintf(`{"tenantId":%q,"force":true}`, w.tenant(domain).ID))
}

func (w *world) syncMessage(domain, text string) *outcome {
	w.t.Helper()
	return w.observe(domain, func() funchost.Invocation { return w.send(syncQueue, text) })
}

// observe returns what happened for a tenant while f ran.
func (w *world) observe(domain string, f func() funchost.Invocation) *outcome {
	w.t.Helper()
	writes, lines, calls, logged := len(w.NinjaOne.Writes()), len(w.logbook(domain)), w.NinjaOne.Calls(), len(w.logged())
	o := &outcome{t: w.t, message: f()}
	o.writes = w.NinjaOne.Writes()[writes:]
	o.lines = w.logbook(domain)[lines:]
	o.calls = w.NinjaOne.Calls()
	for name, n := range calls {
		if o.calls[name] -= n; o.calls[name] == 0 {
			delete(o.calls, name)
		}
	}
	o.status = w.status(w.tenant(domain).ID)
	o.handler = w.of(logged, w.tenant(domain))
	return o
}

// completed fails the test unless the run ended as Completed.
func (o *outcome) completed() *outcome {
	o.t.Helper()
	return o.ended("Completed")
}

func (o *outcome) ended(status string) *outcome {
	o.t.Helper()
	if o.status != status {
		o.t.Fatalf("the run ended as %q, want %s; its logbook lines:\n%s\nand the handler's\n%s",
			o.status, status, strings.Join(o.lines, "\n"), strings.Join(o.handler, "\n"))
	}
	return o
}

// failed fails the test unless the run ended as Failed, for a reason that has
// all the texts.
func (o *outcome) failed(texts ...string) *outcome {
	o.t.Helper()
	return o.ended("Failed").line("Error: The sync to NinjaOne failed", texts...)
}

// line fails the test unless one new line of the logbook begins with start and
// has all the texts.
func (o *outcome) line(start string, texts ...string) *outcome {
	o.t.Helper()
	n := 0
	for _, l := range o.lines {
		if strings.HasPrefix(l, start) && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(l, text) }) {
			n++
		}
	}
	if n != 1 {
		o.t.Errorf("%d new logbook lines begin with %q and have %q, want 1; they are\n%s", n, start, texts, strings.Join(o.lines, "\n"))
	}
	return o
}

// quiet fails the test unless the logbook got nothing but the run's summary.
func (o *outcome) quiet() *outcome {
	o.t.Helper()
	if len(o.lines) != 1 || !strings.HasPrefix(o.lines[0], "Info: Synced to NinjaOne") {
		o.t.Errorf("the logbook got more than the run's summary:\n%s", strings.Join(o.lines, "\n"))
	}
	return o
}

// reads is how many calls read NinjaOne's data.
func (o *outcome) reads() (n int) {
	for call, times := range o.calls {
		if strings.HasPrefix(call, "GET ") {
			n += times
		}
	}
	return n
}

// wroteNothing fails the test if NinjaOne accepted, or was even sent, a write.
func (o *outcome) wroteNothing() *outcome {
	o.t.Helper()
	for call, n := range o.calls {
		if strings.HasPrefix(call, "PATCH") {
			o.t.Errorf("%d calls of %s, want none", n, call)
		}
	}
	if len(o.writes) != 0 {
		o.t.Errorf("%d writes, want none; the first is %+v", len(o.writes), o.writes[0])
	}
	return o
}

// devices returns the fields written on each device, in order of name; a
// cleared field has "-" before its name.
func (o *outcome) devices() map[int][]string { return o.targets(ninjasim.DeviceKind) }

// organization returns the fields of the organization that were written.
func (o *outcome) organization() []string {
	var all []string
	for _, fields := range o.targets(ninjasim.OrganizationKind) {
		all = append(all, fields...)
	}
	return all
}

func (o *outcome) targets(kind ninjasim.Kind) map[int][]string {
	all := map[int][]string{}
	for _, w := range o.writes {
		if w.Kind != kind {
			continue
		}
		all[w.ID] = append(all[w.ID], w.Fields...)
		for _, name := range w.Cleared {
			all[w.ID] = append(all[w.ID], "-"+name)
		}
		slices.Sort(all[w.ID])
	}
	return all
}

// rows reads the rows of a table that fit the filter.
func (w *world) rows(table, filter string) []map[string]any {
	w.t.Helper()
	var list []map[string]any
	pager := w.Tables.NewClient(table).NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter})
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		if err != nil {
			if strings.Contains(err.Error(), "TableNotFound") {
				return nil
			}
			w.t.Fatal(err)
		}
		for _, raw := range page.Entities {
			var row map[string]any
			must(w.t, json.Unmarshal(raw, &row))
			list = append(list, row)
		}
	}
	return list
}

// merge changes columns of a table's row, as CIPP would.
func (w *world) merge(table, partition, row string, columns map[string]any) {
	w.t.Helper()
	entity := map[string]any{"PartitionKey": partition, "RowKey": row}
	maps.Copy(entity, columns)
	body, err := json.Marshal(entity)
	must(w.t, err)
	_, err = w.Tables.NewClient(table).UpsertEntity(context.Background(), body, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeMerge})
	must(w.t, err)
}

// remove deletes a table's row.
func (w *world) remove(table, partition, row string) {
	w.t.Helper()
	if _, err := w.Tables.NewClient(table).DeleteEntity(context.Background(), partition, row, nil); err != nil {
		w.t.Fatal(err)
	}
}

// mapField maps one of CIPP's fields to a NinjaOne custom field; "" unmaps it.
func (w *world) mapField(field, custom string) {
	w.t.Helper()
	w.merge("CippMapping", "NinjaOneFieldMapping", field, map[string]any{"IntegrationId": custom, "IntegrationName": custom})
}

// configure changes the NinjaOne part of CIPP's extension settings.
func (w *world) configure(changes map[string]any) {
	w.t.Helper()
	rows := w.rows("Extensionsconfig", "RowKey eq 'Config'")
	if len(rows) != 1 {
		w.t.Fatalf("%d rows of extension settings", len(rows))
	}
	var all map[string]map[string]any
	must(w.t, json.Unmarshal([]byte(rows[0]["config"].(string)), &all))
	maps.Copy(all["NinjaOne"], changes)
	text, err := json.Marshal(all)
	must(w.t, err)
	w.merge("Extensionsconfig", "CippExtensions", "Config", map[string]any{"config": string(text)})
}

// logbookRows returns the rows of CIPP's logbook for a tenant, given by its
// default domain, oldest first.
func (w *world) logbookRows(domain string) []map[string]any {
	w.t.Helper()
	rows := w.rows("CippLogs", fmt.Sprintf("Tenant eq '%s'", domain))
	slices.SortFunc(rows, func(a, b map[string]any) int {
		return cmp.Compare(a["Timestamp"].(string), b["Timestamp"].(string))
	})
	return rows
}

// logbook returns the lines that CIPP's logbook shows for a tenant, oldest
// first. Lines that concern no tenant have the domain "None".
func (w *world) logbook(domain string) []string {
	w.t.Helper()
	var lines []string
	for _, r := range w.logbookRows(domain) {
		lines = append(lines, fmt.Sprintf("%v: %v", r["Severity"], r["Message"]))
	}
	return lines
}

// mapping returns the tenant's row in CIPP's mapping of organizations.
func (w *world) mapping(tenantID string) map[string]any {
	w.t.Helper()
	for _, r := range w.rows("CippMapping", "PartitionKey eq 'NinjaOneMapping' or PartitionKey eq 'NinjaOrgsMapping'") {
		key := r["RowKey"].(string)
		if t := w.Seed.Tenant(key); key == tenantID || t != nil && t.ID == tenantID {
			return r
		}
	}
	return nil
}

// status returns lastStatus of the tenant's mapping row.
func (w *world) status(tenantID string) string {
	w.t.Helper()
	s, _ := w.mapping(tenantID)["lastStatus"].(string)
	return s
}

// leases returns the clients of the handler's lease blobs under a prefix.
func (w *world) leases(prefix string) []*lease.BlobClient {
	w.t.Helper()
	var all []*lease.BlobClient
	c := w.blobs.ServiceClient().NewContainerClient(syncQueue)
	pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix})
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		must(w.t, err)
		for _, b := range page.Segment.BlobItems {
			l, err := lease.NewBlobClient(c.NewBlobClient(*b.Name), &lease.BlobClientOptions{LeaseID: new(uuid.NewString())})
			must(w.t, err)
			all = append(all, l)
		}
	}
	return all
}

// expireLeases ends the handler's leases under a prefix, as time would after a crash.
func (w *world) expireLeases(prefix string) {
	w.t.Helper()
	for _, l := range w.leases(prefix) {
		if _, err := l.BreakLease(context.Background(), &lease.BlobBreakOptions{BreakPeriod: new(int32(0))}); err != nil && !strings.Contains(err.Error(), "LeaseNotPresent") {
			w.t.Fatal(err)
		}
	}
}

// organizationText returns what technicians read in one of CIPP's organization
// fields of the tenant's organization.
func (w *world) organizationText(domain, field string) string {
	w.t.Helper()
	v, _ := w.NinjaOne.OrganizationField(w.Seed.Organization(w.tenant(domain).ID), w.Seed.FieldMapping[field])
	return v.Text
}

// deviceText returns what technicians read in one of CIPP's fields of a device.
func (w *world) deviceText(id int, field string) string {
	v, _ := w.NinjaOne.DeviceField(id, w.Seed.FieldMapping[field])
	return v.Text
}

// ninjaDevice returns the only device of an organization with the serial
// number in either of its fields.
func (w *world) ninjaDevice(organizationID int, serial string) ninjasim.Device {
	w.t.Helper()
	var found []ninjasim.Device
	for _, d := range w.NinjaOne.Devices(organizationID) {
		if d.SerialNumber == serial || d.BIOSSerialNumber == serial {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("organization %d has %d devices with the serial number %q", organizationID, len(found), serial)
	}
	return found[0]
}

// changeDevice changes the Intune record of a device of the tenant, found by its
// serial number.
func (w *world) changeDevice(domain, serial string, change func(m365sim.Entity)) {
	w.t.Helper()
	found := false
	w.tenant(domain).Change(func(t *m365sim.Tenant) {
		for _, d := range t.ManagedDevices {
			if d.String("serialNumber") == serial {
				change(d)
				found = true
			}
		}
	})
	if !found {
		w.t.Fatalf("no device of %s has the serial number %s", domain, serial)
	}
}

// unenrol removes the Intune records with the serial number, and returns them.
func (w *world) unenrol(domain, serial string) (gone []m365sim.Entity) {
	w.t.Helper()
	w.tenant(domain).Change(func(t *m365sim.Tenant) {
		t.ManagedDevices = slices.DeleteFunc(t.ManagedDevices, func(d m365sim.Entity) bool {
			if d.String("serialNumber") != serial {
				return false
			}
			gone = append(gone, d)
			return true
		})
	})
	if len(gone) == 0 {
		w.t.Fatalf("no device of %s has the serial number %s", domain, serial)
	}
	return gone
}

// correct fails the test unless NinjaOne shows what Microsoft 365 says of the
// tenants, by the sandbox's own rules.
func (w *world) correct(domains ...string) {
	w.t.Helper()
	for _, d := range domains {
		for _, wrong := range w.Check(w.tenant(d).ID) {
			w.t.Errorf("%s: %s", d, wrong)
		}
	}
}

var must = fail.If
