package e2e

import (
	"regexp"
	"slices"
	"strings"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/m365sim"
)

// checkAlways checks what holds after every test: no request broke a contract,
// no message was given up, the handler never panicked and logged nothing but
// JSON, and neither its log, nor its telemetry, nor CIPP's logbook holds secrets
// or personal data.
func (w *world) checkAlways() {
	w.t.Helper()
	for _, v := range w.Violations() {
		w.t.Errorf("a request broke the contract: %s", v)
	}
	for _, queue := range []string{syncQueue, uploadQueue} {
		if n := w.waiting(queue + "-poison"); n != 0 {
			w.t.Errorf("%d messages in the poison queue of %s", n, queue)
		}
	}
	log := w.logged()
	if len(log) == 0 {
		w.t.Error("the handler logged nothing")
	}
	for _, line := range log {
		if _, ok := parseLog(line); !ok {
			w.t.Errorf("the handler wrote a line that is not JSON: %s", line)
		}
		if strings.Contains(line, "panic") {
			w.t.Errorf("the handler panicked: %s", line)
		}
	}
	for _, reason := range w.telemetry.Refused() {
		w.t.Errorf("the telemetry is not OTLP: %s", reason)
	}
	w.checkPrivacy(strings.Join(log, "\n"))
}

// tokens match what the simulators issue: access tokens, refresh tokens and the
// tokens in the addresses of reports. One expression for all would take seconds
// for a day's log: only one that begins with a text is looked for quickly.
var tokens = []*regexp.Regexp{
	regexp.MustCompile(`sim-[0-9a-f]{8}-`),
	regexp.MustCompile(`Bearer `),
	regexp.MustCompile(`report-download/[0-9a-f]`),
}

// hexadecimal returns a run of exactly 60 hexadecimal digits that is a word of
// its own, as the simulated NinjaOne issues them; "" when there is none.
func hexadecimal(text string) string {
	start := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] >= 'a' && text[i] <= 'z' || text[i] >= 'A' && text[i] <= 'Z' || text[i] == '_') {
			continue
		}
		if word := text[start:i]; len(word) == 60 && strings.Trim(word, "0123456789abcdef") == "" {
			return word
		}
		start = i + 1
	}
	return ""
}

// issued returns what looks like a token in a text, or "".
func issued(text string) string {
	for _, token := range tokens {
		if found := token.FindString(text); found != "" {
			return found
		}
	}
	return hexadecimal(text)
}

// checkPrivacy looks for secrets and personal data in the handler's log, in its
// telemetry and in the logbook. The names of devices count as personal in all
// but the logbook.
func (w *world) checkPrivacy(log string) {
	w.t.Helper()
	var book []string
	for _, r := range w.rows("CippLogs", "PartitionKey ne ''") {
		for _, column := range []string{"Message", "LogData"} {
			if s, ok := r[column].(string); ok {
				book = append(book, s)
			}
		}
	}
	texts := map[string]string{"the handler's log": log, "its telemetry": w.telemetry.Text(), "CIPP's logbook": strings.Join(book, "\n")}
	secrets := []string{w.Seed.SAM.ApplicationSecret, w.Seed.SAM.RefreshToken, w.Seed.Ninja.Secret, azurite.AccountKey}
	var people, devices []string
	for _, t := range w.Seed.Tenants {
		t.View(func(t *m365sim.Tenant) {
			secrets = append(secrets, t.RefreshToken)
			for _, u := range t.Users {
				people = append(people, u.String("userPrincipalName"), u.String("mail"), u.String("displayName"))
			}
			for _, d := range t.ManagedDevices {
				devices = append(devices, d.String("deviceName"))
			}
		})
	}
	for where, text := range texts {
		if found := issued(text); found != "" {
			w.t.Errorf("%s holds a token: %s…", where, found)
		}
		for kind, list := range map[string][]string{"a secret": secrets, "personal data": people, "the name of a device": devices} {
			if kind == "the name of a device" && where == "CIPP's logbook" {
				continue
			}
			if found := anyOf(text, list); found != "" {
				w.t.Errorf("%s holds %s: %q", where, kind, found)
			}
		}
	}
}

// anyOf returns one of the texts that a text holds, or "". All are looked for at
// once: a day's log is long, and so is the list of people.
func anyOf(text string, list []string) string {
	var pairs []string
	for _, s := range list {
		if len(s) > 4 {
			pairs = append(pairs, s, "")
		}
	}
	if len(strings.NewReplacer(pairs...).Replace(text)) == len(text) {
		return ""
	}
	return list[slices.IndexFunc(list, func(s string) bool { return len(s) > 4 && strings.Contains(text, s) })]
}
