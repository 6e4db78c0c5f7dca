package m365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/devicemanagement"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

var managedDeviceFields = []string{"id", "azureADDeviceId", "deviceName", "serialNumber", "manufacturer", "model",
	"operatingSystem", "osVersion", "complianceState", "complianceGracePeriodExpirationDateTime", "enrolledDateTime",
	"lastSyncDateTime", "managedDeviceOwnerType", "deviceEnrollmentType", "deviceRegistrationState", "managementAgent",
	"managementState", "enrollmentProfileName", "isEncrypted", "totalStorageSpaceInBytes",
	"freeStorageSpaceInBytes", "physicalMemoryInBytes", "userId", "userPrincipalName", "userDisplayName", "emailAddress"}

// The details that only the beta list has, by the fields that bring them.
var (
	enrolmentFields = []string{"joinType", "chassisType", "autopilotEnrolled"}
	loggedOnFields  = []string{"usersLoggedOn"}
	hardwareFields  = []string{"hardwareInformation"}
)

// managedDevices reads GET /beta/deviceManagement/managedDevices, with as many of
// its details as can be read, or the v1.0 list.
func (g *graph) managedDevices(ctx context.Context) ([]tenant.ManagedDevice, []lost, error) {
	beta := func(details []tenant.Detail, fields ...[]string) form[[]tenant.ManagedDevice] {
		all := slices.Concat(append([][]string{managedDeviceFields}, fields...)...)
		return form[[]tenant.ManagedDevice]{details, func(ctx context.Context) ([]tenant.ManagedDevice, error) {
			return g.listManagedDevices(ctx, g.beta(), pageSize, all, true)
		}}
	}
	enrolment, loggedOn, hardware := tenant.DetailEnrolment, tenant.DetailLoggedOn, tenant.DetailHardware
	return firstOf(ctx,
		beta([]tenant.Detail{enrolment, loggedOn, hardware}, enrolmentFields, loggedOnFields, hardwareFields),
		beta([]tenant.Detail{enrolment, loggedOn}, enrolmentFields, loggedOnFields),
		beta([]tenant.Detail{enrolment, hardware}, enrolmentFields, hardwareFields),
		beta([]tenant.Detail{loggedOn, hardware}, loggedOnFields, hardwareFields),
		form[[]tenant.ManagedDevice]{nil, func(ctx context.Context) ([]tenant.ManagedDevice, error) {
			return g.listManagedDevices(ctx, g.v1(), pageSize, managedDeviceFields, false)
		}})
}

func (g *graph) listManagedDevices(ctx context.Context, base map[string]string, top int, fields []string, beta bool) ([]tenant.ManagedDevice, error) {
	var out []tenant.ManagedDevice
	odd := 0
	asked := ask(ctx, devicemanagement.NewManagedDevicesRequestBuilderInternal(base, g.adapter), top, fields...)
	_, err := list(ctx, g, asked, rows(&out, managedDevice(beta)).counting(&odd))
	// A record that cannot be read is still a device. What seems to lack in the list may
	// be it.
	return append(out, make([]tenant.ManagedDevice, odd)...), err
}

func managedDevice(beta bool) func(*wire.ManagedDevice) (string, tenant.ManagedDevice) {
	return func(d *wire.ManagedDevice) (string, tenant.ManagedDevice) {
		device := d.Record(beta)
		return device.ID, device
	}
}

// maxPolicyDevices bounds the devices whose policies are read at a time: 25 batches.
const maxPolicyDevices = 500

// PolicyStates returns the compliance policies of those devices that do not comply, by
// managed device id. It also returns what it read for that: it does not repeat a known
// reading that counts. An error says why some are missing or as they were. It calls what
// [Reader.Read] calls for them.
func (r *Reader) PolicyStates(ctx context.Context, ref tenant.Ref, devices []tenant.ManagedDevice, known tenant.PolicyReadings) (map[string][]tenant.PolicyState, tenant.PolicyReadings, error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	p := policyResult{states: map[string][]tenant.PolicyState{}}
	due := p.due(devices, known)
	if len(due) == 0 {
		return p.states, nil, nil
	}
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		return p.states, nil, err
	}
	if err := g.readPolicies(ctx, due, &p); err != nil {
		return p.states, p.read, fmt.Errorf("reading the compliance policies of devices of tenant %s: %w", ref.ID, err)
	}
	return p.states, p.read, nil
}

// policyResult is what is known of the compliance policies of devices.
type policyResult struct {
	states   map[string][]tenant.PolicyState // by managed device id
	read     tenant.PolicyReadings           // what was read anew, and whole
	over     bool                            // more are due than are read at a time
	settings error                           // why some failing settings were not read
}

// policyStates returns the policies of each device that does not comply, those
// read before where nothing changed since. A device whose policies could not be
// read is missing, and they are lost.
func (g *graph) policyStates(ctx context.Context, all []tenant.ManagedDevice, known tenant.PolicyReadings) (p policyResult, missed []lost, err error) {
	p = policyResult{states: map[string][]tenant.PolicyState{}}
	failed := g.readPolicies(ctx, p.due(all, known), &p)
	if len(p.states) == 0 && failed != nil {
		return policyResult{}, nil, failed
	}
	if p.over {
		missed = append(missed, lost{tenant.DetailPolicies, absence(fmt.Sprintf("More than %d devices that do not comply have changed: the policies of %[1]d are read at a time", maxPolicyDevices))})
	}
	if failed != nil {
		missed = append(missed, lost{tenant.DetailPolicies, failed})
	}
	if p.settings != nil {
		missed = append(missed, lost{tenant.DetailSettings, p.settings})
	}
	return p, missed, nil
}

// due takes what is known and counts, and returns the devices whose policies are to be
// read. Of too many it takes those with the oldest readings, so that all have their turn.
// The others stay as they were.
func (p *policyResult) due(all []tenant.ManagedDevice, known tenant.PolicyReadings) (due []tenant.ManagedDevice) {
	for i := range all {
		d := &all[i]
		if d.ID == "" || tenant.Judge(d.ComplianceState) != tenant.Violates {
			continue
		}
		if reading := known[d.ID]; reading.Counts(d) {
			p.states[d.ID] = reading.Policies
		} else {
			due = append(due, *d)
		}
	}
	slices.SortStableFunc(due, func(a, b tenant.ManagedDevice) int { return known[a.ID].Read.Compare(known[b.ID].Read) })
	if p.over = len(due) > maxPolicyDevices; p.over {
		for _, d := range due[maxPolicyDevices:] {
			if reading, read := known[d.ID]; read {
				p.states[d.ID] = reading.Policies
			}
		}
		due = due[:maxPolicyDevices]
	}
	return due
}

// errPolicies: states of which some cannot be read are not those of the device.
var errPolicies = errors.New("it holds states that cannot be read")

// statesOf reads the states of policies or settings, each once. Intune reports one for
// each user, with the same id, so that all of a state tells it from others.
func statesOf[T any](ctx context.Context, g *graph, a *answer) (all []T, err error) {
	odd := 0
	_, err = listOf(ctx, g, a, rows(&all, func(s *T) (string, T) { return fmt.Sprint(*s), *s }).counting(&odd))
	if err == nil && odd > 0 {
		err = &bodyError{g.name, errPolicies}
	}
	return all, err
}

// readPolicies reads GET /deviceManagement/managedDevices/{id}/deviceCompliancePolicyStates
// of devices, and where that leaves out the settings of a failing policy, those
// too. The error is that of the first device whose policies could not be read.
func (g *graph) readPolicies(ctx context.Context, devices []tenant.ManagedDevice, p *policyResult) (failed error) {
	began := time.Now().UTC()
	requests := make([]request, len(devices))
	for i, d := range devices {
		requests[i] = ask(ctx, g.policyStateRequest(g.v1(), d.ID), 0)
	}
	var missing []missingSettings
	read := map[string]*tenant.ManagedDevice{}
	for i, a := range g.batch(ctx, requests) {
		id := devices[i].ID
		all, err := statesOf[wire.PolicyState](ctx, g, a)
		if err != nil {
			if failed == nil && !hasStatus(err, http.StatusNotFound) { // else it is gone since the list was read
				failed = err
			}
			continue
		}
		device := []tenant.PolicyState{}
		for _, s := range all {
			if tenant.Fails(s.State) && len(s.Settings) == 0 && s.ID != "" {
				missing = append(missing, missingSettings{device: id, policy: s.ID, index: len(device)})
			}
			device = append(device, tenant.PolicyState{Policy: s.DisplayName, Platform: s.Platform, State: wire.ComplianceState(s.State),
				Settings: wire.FailingSettings(s.Settings), Unread: s.State == "" || wire.Stateless(s.Settings) || tenant.Fails(s.State) && len(s.Settings) == 0})
		}
		p.states[id], read[id] = device, &devices[i]
	}
	p.settings = g.readSettings(ctx, p.states, missing)
	p.read = tenant.PolicyReadings{}
	for id, d := range read {
		if !slices.ContainsFunc(p.states[id], func(s tenant.PolicyState) bool { return s.Unread }) {
			p.read[id] = tenant.PolicyReading{CheckIn: d.LastSync, State: d.ComplianceState, Policies: p.states[id], Read: began}
		}
	}
	return failed
}

// missingSettings is a failing policy of a device that came without settings.
type missingSettings struct {
	device, policy string
	index          int
}

// readSettings adds the settings of failing policies, from v1.0 or, where that refuses
// them, from beta. They are detail: a policy whose settings cannot be read stays without.
// The error is that of the first.
func (g *graph) readSettings(ctx context.Context, states map[string][]tenant.PolicyState, missing []missingSettings) error {
	for _, version := range []string{"v1.0", "beta"} {
		base := map[string]string{"baseurl": g.base(version)}
		requests := make([]request, len(missing))
		for i, m := range missing {
			requests[i] = ask(ctx, g.policyStateRequest(base, m.device).ByDeviceCompliancePolicyStateId(m.policy), 0)
			requests[i].under("/settingStates")
		}
		var again []missingSettings
		var failed error
		for i, a := range g.batchOn(ctx, version, requests) {
			settings, err := statesOf[wire.SettingState](ctx, g, a)
			if err != nil {
				again = append(again, missing[i])
				if failed == nil {
					failed = err
				}
				continue
			}
			policy := &states[missing[i].device][missing[i].index]
			policy.Settings, policy.Unread = wire.FailingSettings(settings), wire.Stateless(settings)
		}
		if missing = again; len(missing) == 0 || version == "beta" || ctx.Err() != nil {
			return failed
		}
	}
	return nil
}

func (g *graph) policyStateRequest(base map[string]string, deviceID string) *devicemanagement.ManagedDevicesItemDeviceCompliancePolicyStatesRequestBuilder {
	return devicemanagement.NewManagedDevicesRequestBuilderInternal(base, g.adapter).
		ByManagedDeviceId(deviceID).DeviceCompliancePolicyStates()
}
