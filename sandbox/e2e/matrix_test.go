package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
	"cipp-ninjaone/sandbox/storageproxy"
)

// step is one thing that a sync does. Exactly one of microsoft, ninja and
// storage says which requests that is; those of the cell's tenant are meant,
// unless the requests do not tell.
type step struct {
	name      string
	microsoft *m365sim.Fault
	ninja     *ninjasim.Fault
	storage   func(c *cell) storageproxy.Fault
	// with is trouble without which a run has no such step.
	with *ninjasim.Fault
	// alone says that the requests do not tell their tenant, so that no other
	// cell may run meanwhile.
	alone bool
	// again says that the tenant was synced before, and changed since.
	again bool
	force bool
	// outside says that the step is no part of the work that the time budget
	// limits.
	outside bool
	// repeats says that NinjaOne accepted values whose acceptance could not be
	// noted: they are sent once more.
	repeats bool
	// inBatch says that fields are written: a process that is killed then has not
	// settled what NinjaOne accepted of the batch, so that it is sent once more.
	inBatch bool

	ends ending
	says []string               // in one line of the logbook, unless it stays silent
	but  map[string]expectation // by kind of trouble
}

// expectation is how a run ends, and what one line of the logbook says then.
type expectation struct {
	ends ending
	says []string
}

// ending is how a run in trouble ends.
type ending int

const (
	silent ending = iota // completed; the trouble was overcome within the run
	warned               // completed, and a warning says what is missing
	failed               // failed, and an error says why
	cut                  // out of time or asked for a pause: put back on the queue if it got anywhere, else failed
	handed               // handed back to the host, which delivers the message again
)

// kind is one kind of trouble. A service that cannot have it has no function,
// and a function reports false where the step cannot have it.
type kind struct {
	name      string
	microsoft func(*m365sim.Fault)
	ninja     func(*ninjasim.Fault)
	storage   func(*storageproxy.Fault)
	// absorbed says that it passes by itself, and the run's own retries
	// overcome it.
	absorbed bool
	// budget bounds a run that is alone, and wideBudget one among many; 0 leaves
	// the default. A run that does not come to its step within it gets more.
	budget, wideBudget time.Duration
	// repeats says that NinjaOne accepts values whose acceptance cannot be
	// known: they are sent once more.
	repeats bool
	// throttles says that NinjaOne asks all callers for a pause, so that its
	// cells run one by one.
	throttles bool
	// cuts is what the logbook says of a run without progress when the trouble
	// cuts runs short: all of them, or with throttles those that call NinjaOne.
	cuts string
	// kill ends the handler's process as soon as all cells are in trouble.
	kill bool
	// not lists steps that cannot have this trouble, and why.
	not map[string]string
}

// cell is one step in trouble, in a tenant of its own.
type cell struct {
	*step
	w            *world
	tenant       *m365sim.Tenant
	organization int

	mu   sync.Mutex
	hits int

	wait    func() funchost.Invocation
	message funchost.Invocation
	lines   []string // new in the logbook
	status  string
	healed  string // the status after the trouble was over
}

func (c *cell) hit() {
	c.mu.Lock()
	c.hits++
	c.mu.Unlock()
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.changed.Broadcast()
}

// rewind forgets that the step met its trouble.
func (c *cell) rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits = 0
}

func (c *cell) hitCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits
}

// matrixDay is one day for all kinds of trouble, also where midnight passes between them.
var matrixDay = time.Now()

// matrixSeed holds one small tenant per step of the matrix, the same ones each
// time.
func matrixSeed() *seed.Seed {
	data := seed.Generate(seed.Size{Tenants: len(steps), Users: 4, Devices: 3, Groups: 4, Day: matrixDay})
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	return data
}

// changeTenant is what happens in a tenant between two syncs: a name changes, so
// that fields and a document do, and a device changes hands, so that relations
// end and begin.
func changeTenant(t *m365sim.Tenant) {
	t.Change(func(t *m365sim.Tenant) {
		t.Users[0]["displayName"] = "Renamed Person"
		d, to := t.ManagedDevices[0], t.Users[1]
		if d.String("userId") == to.ID() {
			to = t.Users[2]
		}
		d["userId"], d["userPrincipalName"], d["userDisplayName"], d["emailAddress"] = to.ID(), to["userPrincipalName"], to["displayName"], to["mail"]
		d["usersLoggedOn"] = []m365sim.Entity{{"userId": to.ID(), "lastLogOnDateTime": "2026-01-05T08:00:00Z"}}
		d["osVersion"] = "10.0.26200.9"
	})
}

// wide lets so many tenants be synced at once, and nothing else be done, of which
// nothing here depends. Nor does anything read the debug lines of so many runs.
func wide(tenants int) option {
	return func(c *funchost.Config) {
		c.Settings["LOG_LEVEL"] = "info"
		c.Settings["SYNC_SLOTS"] = fmt.Sprint(tenants)
		c.Settings["AzureFunctionsJobHost__extensions__queues__batchSize"] = "32"
		c.Settings["AzureFunctionsJobHost__extensions__queues__newBatchThreshold"] = "31"
		for _, other := range []string{"Automap", "Heartbeat", "RenewSubscriptions", "ScheduleTenants", "SweepCompliance", "UpdateCompliance", "WatchTenant", "WatchTenants"} {
			c.Settings["AzureWebJobs."+other+".Disabled"] = "true"
		}
	}
}

// patient lets a message come back soon after a failure, as often as it takes:
// some tenants' trouble lasts until the last one has met its own.
func patient(c *funchost.Config) {
	c.Settings["AzureFunctionsJobHost__extensions__queues__visibilityTimeout"] = "00:00:05"
	c.Settings["AzureFunctionsJobHost__extensions__queues__maxDequeueCount"] = "1000"
}

func matrixOptions(data *seed.Seed) stack.Options {
	return stack.Options{Seed: data, Proxy: true, PageSize: 3}
}

// queueAll puts a message for each cell on the queue, and waits for them all.
func queueAll(cells []*cell) {
	for _, c := range cells {
		c.wait = c.w.put(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false}`, c.tenant.ID))
	}
	for _, c := range cells {
		c.wait()
	}
}

// holding is all that NinjaOne shows of an organization, in words that do not
// depend on the order in which it was made.
func (w *world) holding(organization int) []string {
	names, identity := map[int]string{}, []string{}
	templates := map[int]string{}
	for _, t := range w.NinjaOne.Templates() {
		templates[t.ID] = t.Name
	}
	documents := w.NinjaOne.Documents(organization)
	for _, d := range documents {
		names[d.ID] = templates[d.TemplateID] + "/" + d.Name
		identity = append(identity, fmt.Sprint("/", d.TemplateID, "/", d.ID, `"`), fmt.Sprint("/", names[d.ID], `"`))
	}
	neutral := strings.NewReplacer(identity...)
	var all []string
	add := func(format string, args ...any) { all = append(all, neutral.Replace(fmt.Sprintf(format, args...))) }
	for _, f := range w.Seed.FieldMapping {
		if v, ok := w.NinjaOne.OrganizationField(organization, f); ok {
			add("organization %s: %s", f, v.Sent)
		}
		for _, d := range w.NinjaOne.Devices(organization) {
			if v, ok := w.NinjaOne.DeviceField(d.ID, f); ok {
				add("device %d %s: %s", d.ID, f, v.Sent)
			}
		}
	}
	for _, d := range documents {
		if d.Archived {
			add("archived document %s", names[d.ID])
			continue
		}
		add("document %s", names[d.ID])
		for _, field := range slices.Sorted(maps.Keys(d.Fields)) {
			add("document %s %s: %s", names[d.ID], field, d.Fields[field])
		}
	}
	entity := func(kind string, id int) string {
		if kind == "DOCUMENT" && names[id] != "" {
			return names[id]
		}
		return fmt.Sprint(kind, " ", id)
	}
	for _, r := range w.NinjaOne.Relations() {
		if names[r.RelatedID] != "" && r.RelatedType == "DOCUMENT" || names[r.EntityID] != "" && r.EntityType == "DOCUMENT" {
			add("relation %s: %s", entity(r.EntityType, r.EntityID), entity(r.RelatedType, r.RelatedID))
		}
	}
	slices.Sort(all)
	return all
}

// difference says in what two holdings differ.
func difference(got, want []string) []string {
	count := map[string]int{}
	for _, line := range got {
		count[line]++
	}
	for _, line := range want {
		count[line]--
	}
	var all []string
	for _, line := range slices.Sorted(maps.Keys(count)) {
		switch n := count[line]; {
		case n > 0:
			all = append(all, fmt.Sprintf("%d too many: %.300s", n, line))
		case n < 0:
			all = append(all, fmt.Sprintf("%d missing: %.300s", -n, line))
		}
	}
	return all
}

// TestFaultMatrix meets each kind of trouble in each step of a sync. Whatever
// the run makes of it, its end is recorded and told; and once the trouble is
// over, NinjaOne comes to hold exactly what it holds where there never was any,
// and nothing is sent that it had accepted.
//
// All of it takes many minutes. Each day every step meets one kind of trouble, and
// each kind some of the steps.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	cells := drawn(draw.Day(t))
	var clean map[int][]string
	t.Run("without trouble", func(t *testing.T) { clean = cleanTwin(t) })
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			runKind(t, k, cells[k.name], clean)
		})
	}
}

// meets reports whether a step can have this trouble.
func (k *kind) meets(s *step) bool {
	if k.not[s.name] != "" || s.outside && k.budget != 0 {
		return false
	}
	return s.microsoft != nil && k.microsoft != nil || s.ninja != nil && k.ninja != nil || s.storage != nil && k.storage != nil
}

// cleanTwin syncs every tenant of the matrix without trouble, and returns what
// NinjaOne holds then, by organization.
func cleanTwin(t *testing.T) map[int][]string {
	t.Helper()
	data := matrixSeed()
	w := startOn(t, matrixOptions(data), wide(8))
	var cells []*cell
	for i := range steps {
		tenant := data.Tenants[i]
		if steps[i].again {
			changeTenant(tenant)
		}
		cells = append(cells, &cell{step: &steps[i], w: w, tenant: tenant, organization: data.Organization(tenant.ID)})
	}
	queueAll(cells)
	clean := map[int][]string{}
	for _, c := range cells {
		if status := w.status(c.tenant.ID); status != "Completed" {
			t.Fatalf("a clean sync ended as %q:\n%s", status, strings.Join(w.logbook(c.tenant.DefaultDomain), "\n"))
		}
		clean[c.organization] = w.holding(c.organization)
	}
	return clean
}

// inject lets the cell's step meet the trouble.
func (k *kind) inject(c *cell) {
	switch {
	case c.microsoft != nil:
		f := *c.microsoft
		k.microsoft(&f)
		f.OnHit = c.hit
		if !c.alone {
			f.Tenant = c.tenant.ID
		}
		c.w.M365.AddFault(f)
	case c.ninja != nil:
		f := *c.ninja
		k.ninja(&f)
		f.OnHit = c.hit
		if !c.alone {
			f.Organization = c.organization
		}
		c.w.NinjaOne.InjectFault(f)
	default:
		f := c.storage(c)
		k.storage(&f)
		f.OnHit = c.hit
		c.w.Proxy.Inject(f)
	}
	if c.with != nil {
		f := *c.with
		f.Organization = c.organization
		c.w.NinjaOne.InjectFault(f)
	}
}

func (w *world) clearFaults() {
	w.M365.ClearFaults()
	w.NinjaOne.ClearFaults()
	w.Proxy.ClearFaults()
}

func runKind(t *testing.T, k kind, met []*step, clean map[int][]string) {
	data := matrixSeed()
	options := []option{wide(len(met)), patient}
	if k.budget != 0 {
		options = append(options, setting("SYNC_TIME_BUDGET", k.budget.String()))
	}
	w := startOn(t, matrixOptions(data), options...)
	var alone, together, last, prepared []*cell
	for i := range steps {
		tenant := data.Tenants[i]
		c := &cell{step: &steps[i], w: w, tenant: tenant, organization: data.Organization(tenant.ID)}
		switch {
		case !slices.Contains(met, c.step):
			continue
		case c.with != nil:
			last = append(last, c)
		case c.alone, c.ninja != nil && k.throttles:
			alone = append(alone, c)
		default:
			together = append(together, c)
		}
		if c.again {
			prepared = append(prepared, c)
		}
	}
	one := func(again bool) {
		for _, c := range alone {
			if c.again == again {
				k.trouble(k.budget, c)
				// A pause that NinjaOne asked for is kept, and a host starts a handler only
				// so often.
				if c.ninja != nil && k.throttles || k.kill {
					w.rested()
				}
			}
		}
	}
	one(false)
	if k.budget != 0 {
		w.budget(10 * time.Minute)
	}
	queueAll(prepared)
	for _, c := range prepared {
		changeTenant(c.tenant)
	}
	if k.budget != 0 {
		w.budget(k.budget)
	}
	one(true)
	if k.budget != 0 {
		w.budget(k.wideBudget)
	}
	k.trouble(k.wideBudget, together...)
	k.trouble(k.wideBudget, last...)

	cells := slices.Concat(alone, together, last)
	w.empty(syncQueue)
	if k.cuts != "" || k.kill || len(last) > 0 {
		w.budget(10 * time.Minute) // ends what goes on of runs that were cut short or killed, and NinjaOne's pauses
		w.expireLeases("")
	} else {
		w.expireLeases("lease/") // of runs that could not give them up
	}
	queueAll(cells)
	for _, c := range cells {
		c.healed = w.status(c.tenant.ID)
	}
	writes, changes := len(w.NinjaOne.Writes()), len(w.NinjaOne.DocumentWrites())
	queueAll(cells)
	for _, c := range cells {
		t.Run(c.name, func(t *testing.T) { c.check(t, k, clean[c.organization], writes) })
	}
	if now := w.NinjaOne.DocumentWrites(); len(now) != changes {
		t.Errorf("the runs after the healing changed documents: %+v", now[changes:])
	}
}

// budget starts the handler again with another time for each run.
func (w *world) budget(d time.Duration) {
	w.t.Helper()
	w.options = append(w.options, setting("SYNC_TIME_BUDGET", d.String()))
	w.rested()
}

// trouble runs cells at once while they are in trouble. How far a run comes
// within its budget depends on the machine: those that got nowhere before their
// step run again with twice as much. So do those that gave up a call without an
// answer, and ended, before the others were far enough for the kill.
func (k *kind) trouble(budget time.Duration, cells ...*cell) {
	const rounds = 6 // what needs more has failed
	for round := 0; len(cells) > 0 && round < rounds; round++ {
		k.meet(cells)
		if k.kill {
			cells = slices.DeleteFunc(slices.Clone(cells), func(c *cell) bool { return c.message.Err != nil })
			if len(cells) > 0 && round < rounds-1 {
				for _, c := range cells {
					c.rewind()
				}
				cells[0].w.restart() // a host starts a handler only so often
			}
			continue
		}
		if budget == 0 {
			return
		}
		cells = slices.DeleteFunc(slices.Clone(cells), func(c *cell) bool { return c.hitCount() > 0 })
		if len(cells) > 0 && budget < patience {
			budget *= 2
			cells[0].w.budget(budget)
			continue
		}
		return
	}
}

// meet runs cells at once while they are in trouble.
func (k *kind) meet(cells []*cell) {
	w := cells[0].w
	w.mu.Lock()
	begun := len(w.done)
	w.mu.Unlock()
	before := map[*cell]int{}
	for _, c := range cells {
		before[c] = len(w.logbook(c.tenant.DefaultDomain))
		if c.ninja != nil && strings.Contains(c.ninja.Path, "token") {
			w.NinjaOne.RevokeTokens()
		}
		k.inject(c)
		c.wait = w.put(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":%t}`, c.tenant.ID, c.force))
	}
	if k.kill {
		for _, c := range cells {
			w.await(c.name+" to be under way", func() bool { return c.hitCount() > 0 })
		}
		w.Host.Kill()
		w.clearFaults()
		w.expireLeases("")
	}
	for _, c := range cells {
		c.message = c.wait()
		// A run that was cut short before its step writes what is left of it when it
		// goes on, in trouble still.
		for runs := 2; k.budget != 0 && c.hitCount() == 0 && c.message.Err == nil && w.status(c.tenant.ID) == "Running"; runs++ {
			c.message = w.handled(begun, c.tenant, runs)
		}
		c.lines, c.status = w.logbook(c.tenant.DefaultDomain)[before[c]:], w.status(c.tenant.ID)
	}
	w.clearFaults()
	for _, c := range cells {
		if c.message.Err == nil {
			continue
		}
		text := c.message.Message
		w.await("the host to deliver "+text+" again", func() bool {
			return slices.ContainsFunc(w.done, func(i funchost.Invocation) bool { return i.Message == text && i.Err == nil && i.DequeueCount > 1 })
		})
	}
}

// handled waits for the n-th message of a tenant that was handled since so many
// invocations.
func (w *world) handled(since int, t *m365sim.Tenant, n int) (last funchost.Invocation) {
	w.await(fmt.Sprintf("message %d of %s", n, t.DefaultDomain), func() bool {
		seen := 0
		for _, i := range w.done[since:] {
			if strings.Contains(i.Message, t.ID) {
				seen++
			}
			if seen == n {
				last = i
				return true
			}
		}
		return false
	})
	return last
}

// check holds what the run in trouble did, and what came of it, against what is
// expected. Whatever NinjaOne accepted after so many writes, it was sent although
// nothing had changed.
func (c *cell) check(t *testing.T, k kind, clean []string, healed int) {
	w := c.w
	if c.hitCount() == 0 {
		t.Error("no request met the trouble")
	}
	if problem := c.judge(k); problem != "" {
		t.Errorf("%s; the run ended as %q, its invocation with %v, and the logbook says\n%s", problem, c.status, c.message.Err, strings.Join(c.lines, "\n"))
	}
	if c.healed != "Completed" {
		t.Errorf("once the trouble is over, the run ends as %q:\n%s", c.healed, strings.Join(w.logbook(c.tenant.DefaultDomain), "\n"))
	}
	for _, line := range difference(w.holding(c.organization), clean) {
		t.Errorf("what NinjaOne holds differs from what a clean sync gives: %s", line)
	}
	devices := map[int]bool{}
	for _, d := range w.NinjaOne.Devices(c.organization) {
		devices[d.ID] = true
	}
	for i, write := range w.NinjaOne.Writes() {
		if write.Kind == ninjasim.OrganizationKind && write.ID != c.organization || write.Kind == ninjasim.DeviceKind && !devices[write.ID] {
			continue
		}
		if len(write.Repeated) > 0 && !c.repeats && !k.repeats && !c.force && !(k.kill && c.inBatch) && !c.stopped() {
			t.Errorf("NinjaOne was sent what it had accepted: %s %d %q; the logbook says\n%s",
				write.Kind, write.ID, write.Repeated, strings.Join(w.logbook(c.tenant.DefaultDomain), "\n"))
		}
		if i >= healed {
			t.Errorf("the run after the healing wrote %s %d %q %q", write.Kind, write.ID, write.Fields, write.Cleared)
		}
	}
}

// stopped reports whether a machine was too slow to keep a run's lease: like one
// that is killed, it may have sent a batch that the next one sends again.
func (c *cell) stopped() bool {
	return leaseLost(c.w.logged(), func(l logLine) bool { return strings.Contains(l.Error, c.tenant.ID) })
}

// judge says what is wrong with the run in trouble; "" when nothing is.
func (c *cell) judge(k kind) string {
	want := expectation{c.ends, c.says}
	switch but, ok := c.but[k.name]; {
	case ok:
		want = but
	case k.kill:
		want = expectation{ends: handed}
	case c.with != nil && k.absorbed:
		want = expectation{ends: cut, says: []string{"throttled by NinjaOne"}}
	case k.absorbed:
		want = expectation{}
	case k.cuts != "" && (c.ninja != nil || !k.throttles):
		want = expectation{ends: cut, says: []string{k.cuts}}
	}
	line := func(start string, texts ...string) bool {
		return slices.ContainsFunc(c.lines, func(l string) bool {
			return strings.HasPrefix(l, start) && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(l, text) })
		})
	}
	if k.cuts != "" && c.message.Err == nil && line("Info: Not finished after") {
		return "" // a slow machine leaves some of it for a run that goes on
	}
	status := map[ending]string{silent: "Completed", warned: "Completed", failed: "Failed"}[want.ends]
	if status != "" && (c.status != status || c.message.Err != nil) {
		return "it should have ended as " + status
	}
	const failure = "Error: The sync to NinjaOne failed after"
	switch want.ends {
	case silent:
		if line("Warn: ") || line("Error: ") {
			return "it should have stayed silent"
		}
	case warned:
		if !line("Warn: ", want.says...) || line("Error: ") {
			return fmt.Sprintf("a warning should say %q", want.says)
		}
	case failed:
		if !line(failure, want.says...) {
			return fmt.Sprintf("the failure should say %q", want.says)
		}
	case cut:
		if !line("Info: Not finished after") && !line(failure, want.says...) {
			return fmt.Sprintf("it should go on later, or say %q", want.says)
		}
	case handed:
		if c.message.Err == nil {
			return "its message should have gone back to the host"
		}
		// A run that was killed is told of by the next one; any other failure by
		// itself, if it must as soon as the logbook can be written again.
		book := c.w.logbook(c.tenant.DefaultDomain)
		if !k.kill && !slices.ContainsFunc(book, func(l string) bool { return unrecorded.MatchString(l) }) {
			return "the logbook should say why its message went back to the host; it says " + strings.Join(book, "\n")
		}
	}
	for _, l := range c.lines {
		switch {
		case bare.MatchString(l):
			return "the logbook should say in words what became of the connection"
		case strings.Contains(l, "FORBIDDEN") && !strings.Contains(l, "lacks the scope"):
			return "the logbook should say which right is missing"
		}
	}
	return ""
}

// unrecorded is told of a run that failed without a record of its own, and bare
// is what Go says of a connection that broke.
var (
	unrecorded = named(`^Warn: (The sync could not begin|How the sync ended could not be recorded): .+ It is tried again by itself`)
	bare       = named(`EOF|reset by peer|broken pipe`)
)

func named(expression string) *regexp.Regexp { return regexp.MustCompile(expression) }
