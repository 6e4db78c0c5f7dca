package bench

import (
	"fmt"
	"testing"
	"time"
)

// writers is how many writes the handler keeps under way in NinjaOne.
const writers = 8

// chains are the chains of reads of which each call needs the answer of the one
// before, with their lengths in a run. A chain that begins with a token is longer
// by one when the handler had none.
func (c counts) chains() map[string]int {
	// One of the two requests for a token is Graph's, the other Exchange's.
	signIn := min(1, c.of("login", "/token"))
	ninjaSignIn := c.of("ninjaone", "/ws/oauth/token")
	basics := 1 // the batch that tells, among others, whether sign-in activity can be asked for
	policies := min(1, c.of("part", "/deviceCompliancePolicyStates")) + min(1, c.of("part", "/settingStates"))
	return map[string]int{
		"token, batch, pages of users":                      signIn + basics + c.of("graph", "GET /v1.0/users"),
		"token, batch, report, download":                    signIn + basics + 2,
		"token, pages of groups":                            signIn + c.of("graph", "/groups/delta"),
		"token, pages of Entra devices":                     signIn + c.of("graph", "GET /v1.0/devices"),
		"token, pages of managed devices, states, settings": signIn + c.of("graph", "/deviceManagement/managedDevices") + policies,
		"token, pages of mailboxes":                         signIn + c.of("exchange", "POST Get-Mailbox"),
		"token, pages of mailbox protocols":                 signIn + c.of("exchange", "POST Get-CASMailbox"),
		"token, pages of NinjaOne devices":                  ninjaSignIn + c.of("ninjaone", "/devices-detailed"),
	}
}

// critical is the length of the run's critical path, and its chain of reads.
func (r run) critical() (length int, chain string, writes int) {
	for name, n := range r.counts.chains() {
		if n > length || n == length && name < chain {
			length, chain = n, name
		}
	}
	for _, c := range r.calls {
		if c.isWrite() {
			writes++
		}
	}
	return length + (writes+writers-1)/writers, chain, writes
}

// report gives the run's numbers to the benchmark, and its calls to the tables.
func (r run) report(b *testing.B, latency time.Duration) {
	b.Helper()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	length, chain, writes := r.critical()
	var reads, writing []call
	totals := counts{}
	for _, c := range r.calls {
		totals[c.service]++
		switch {
		case c.isWrite():
			writing = append(writing, c)
		case c.isRead():
			reads = append(reads, c)
		}
	}
	last := func(calls []call) (at time.Time) {
		for _, c := range calls {
			if c.end.After(at) {
				at = c.end
			}
		}
		return at
	}
	end := r.Start.Add(r.Duration)
	first := func(calls []call) time.Time {
		at := end
		for _, c := range calls {
			if c.start.Before(at) {
				at = c.start
			}
		}
		return at
	}
	readsEnd, writesEnd := last(reads), end
	if len(writing) > 0 {
		writesEnd = last(writing)
	}
	firstRead, firstWrite := first(reads), first(writing)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(r.Duration), "wall-ms")
	b.ReportMetric(float64(writes), "writes")
	b.ReportMetric(float64(totals["ninjaone"]), "ninjaone-calls")
	b.ReportMetric(float64(totals["login"]+totals["graph"]+totals["exchange"]+r.counts.of("download", "")), "m365-calls")
	b.ReportMetric(float64(totals["table"]+totals["blob"]), "storage-calls")
	if r.seen {
		b.ReportMetric(r.peakMB, "peak-MB")
		b.ReportMetric(ms(r.cpu), "cpu-ms")
	}
	critical := time.Duration(length) * latency
	if latency > 0 {
		b.ReportMetric(ms(critical), "critical-ms")
		b.ReportMetric(float64(r.Duration)/float64(critical), "ratio")
	}

	fmt.Fprintf(&tables, "\n%s: %.1f s", b.Name(), r.Duration.Seconds())
	if latency > 0 {
		fmt.Fprintf(&tables, "; critical path of %d calls by %s: %s; then %d writes, %d at once", length, latency, chain, writes, writers)
	}
	fmt.Fprintf(&tables, "\n  before %.0f ms, reads %.0f ms, between %.0f ms, writes %.0f ms, after %.0f ms; at most %d reads and %d writes at once\n",
		ms(firstRead.Sub(r.Start)), ms(readsEnd.Sub(firstRead)), ms(firstWrite.Sub(readsEnd)), ms(writesEnd.Sub(firstWrite)), ms(end.Sub(writesEnd)),
		busiest(reads), busiest(writing))
	for _, name := range r.counts.names() {
		fmt.Fprintf(&tables, "  %6d  %s\n", r.counts[name], name)
	}
}
