package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/seed"
	"cipp-ninjaone/sandbox/stack"
)

// checked is how many tenants are mapped where `handler check` is measured.
const checked = 1000

// BenchmarkCheck measures `handler check` of a thousand mapped tenants, from the
// start of its process to its end.
func BenchmarkCheck(b *testing.B) {
	s, err := stack.Start(context.Background(), stack.Options{Seed: seed.Generate(seed.Size{Tenants: checked, Users: 1, Devices: 1, Groups: 1})})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	s.M365.SetLatency(delay)
	s.NinjaOne.SetLatency(delay)
	s.M365.ResetCalls()
	s.NinjaOne.ResetCounters()
	cmd := exec.Command(filepath.Join(appRoot(b), "handler"), "check")
	cmd.Env = os.Environ()
	for name, value := range s.Settings() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	begun := time.Now()
	report, err := cmd.Output()
	took := time.Since(begun)
	// The tenants were never synced, which is a finding.
	if status, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || status.ExitCode() != 1) {
		b.Fatalf("the check failed: %v", err)
	}
	if want := fmt.Sprintf("the permissions of %d of %d mapped tenants", checked, checked); !strings.Contains(string(report), want) {
		b.Fatalf("the report does not say %q:\n%s", want, report)
	}
	signIns, calls := s.M365.Calls()["login POST /{tenant}/oauth2/v2.0/token"], 0
	for _, n := range s.NinjaOne.Calls() {
		calls += n
	}
	if signIns < 2*checked {
		b.Fatalf("%d sign-ins, want two of each tenant", signIns)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took.Seconds(), "wall-s")
	b.ReportMetric(float64(cmd.ProcessState.UserTime().Milliseconds()+cmd.ProcessState.SystemTime().Milliseconds()), "cpu-ms")
	b.ReportMetric(float64(signIns), "sign-ins")
	b.ReportMetric(float64(calls), "ninjaone-calls")
}
