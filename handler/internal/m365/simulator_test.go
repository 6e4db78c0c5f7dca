package m365

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// simulated is a reader of the simulated provider's ordinary tenant.
type simulated struct {
	*m365sim.Server
	reader *Reader
	ref    tenant.Ref
}

type samSecrets map[string]string

func (s samSecrets) Secret(_ context.Context, name string, _ bool) (string, error) {
	return s[name], nil
}

func simulate(t *testing.T) *simulated {
	t.Helper()
	provider := seed.MSPAt(time.Date(2031, 5, 14, 0, 0, 0, 0, time.UTC))
	sam := provider.SAM
	server, err := m365sim.New(m365sim.Config{PageSize: 10, DeltaPageSize: 10, Credentials: m365sim.Credentials{ClientID: sam.ApplicationID, ClientSecret: sam.ApplicationSecret,
		PartnerTenantID: sam.TenantID, RefreshToken: sam.RefreshToken}}, provider.Tenants...)
	if err != nil {
		t.Fatal(err)
	}
	at, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	reader := newReader(t, Deps{GraphEndpoint: address(t, at.Graph), LoginEndpoint: address(t, at.Login), ExchangeEndpoint: address(t, at.Exchange),
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, Credentials: samSecrets{secretApplicationID: sam.ApplicationID,
			secretApplicationSecret: sam.ApplicationSecret, secretRefreshToken: sam.RefreshToken}})
	return &simulated{server, reader, tenant.Ref{ID: provider.Tenant(seed.Ordinary).ID}}
}

// TestSimulatedTrouble has Microsoft 365 misbehave in one place: it takes away
// itself only, and no rule of the services is broken on the way.
func TestSimulatedTrouble(t *testing.T) {
	path := regexp.MustCompile
	for name, tt := range map[string]struct {
		fault m365sim.Fault
		lost  string // "" = nothing
	}{
		"nothing":                     {m365sim.Fault{Path: path("/nowhere$")}, ""},
		"sign-in activity is down":    {m365sim.Fault{Query: path("signInActivity"), Status: 504}, "the last sign-in of users"},
		"sign-in activity throttles":  {m365sim.Fault{Query: path("signInActivity"), Status: 429}, "the last sign-in of users"},
		"sign-in activity never ends": {m365sim.Fault{Query: path("signInActivity"), Endless: m365sim.EndlessSame}, "the last sign-in of users"},
		"the beta list is down":       {m365sim.Fault{Path: path("^/beta/.*/managedDevices$"), Status: 501}, "hardware protection of Intune devices, join type, chassis and Autopilot of Intune devices, who logged on to Intune devices"},
		"hardware is down":            {m365sim.Fault{Query: path("hardwareInformation"), Status: 500}, "hardware protection of Intune devices"},
		"groups delta is down":        {m365sim.Fault{Path: path("/groups/delta$"), Status: 503}, ""},
		"groups delta never ends":     {m365sim.Fault{Path: path("/groups/delta$"), Endless: m365sim.EndlessNew}, ""},
		"roles delta is down":         {m365sim.Fault{Path: path("/directoryRoles/delta$"), Status: 502}, ""},
		"no users":                    {m365sim.Fault{Path: path("/users$"), Empty: true}, "users"},
		"no domains":                  {m365sim.Fault{Path: path("/domains$"), Empty: true}, "domains"},
		"an expired page":             {m365sim.Fault{Query: path(`\$skiptoken=`), Status: 400, Code: "Directory_ExpiredPageToken", Count: 1}, ""},
		"users for ever":              {m365sim.Fault{Path: path("/users$"), Endless: m365sim.EndlessNew}, "users"},
		"users behind one link":       {m365sim.Fault{Path: path("/users$"), Endless: m365sim.EndlessLink}, "users"},
		"devices without end":         {m365sim.Fault{Path: path("/v1.0/devices$"), Endless: m365sim.EndlessEmpty}, "Entra devices"},
		"settings on beta only":       {m365sim.Fault{Path: path("^/v1.0/.*/settingStates$"), Status: 400}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := simulate(t)
			s.reader.graph.list = bounds.Limits{Pages: 60, Items: 2000, Bytes: 64 << 20, Idle: 20}
			s.AddFault(tt.fault)
			got, err := s.reader.Read(t.Context(), s.ref, nil)
			if err != nil {
				t.Fatal(err)
			}
			var lost []string
			for _, p := range got.Absent() {
				if !p.Expected {
					lost = append(lost, p.Name)
				}
			}
			if strings.Join(lost, ", ") != tt.lost {
				t.Errorf("lost %q, want %q", lost, tt.lost)
			}
			for _, v := range s.Violations() {
				t.Errorf("violation: %s", v)
			}
			calls := 0
			for _, n := range s.Calls() {
				calls += n
			}
			if calls > 400 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}
