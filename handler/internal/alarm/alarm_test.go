package alarm

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

// rules is where the rules are that look for the lines.
const rules = "../../../deploy/alerts.bicep"

// ruleName finds the alarm that a rule looks for.
var ruleName = regexp.MustCompile(`(?m)^\s*alarm: '(\w+)'$`)

// TestRulesFindTheLines holds the alarms and the rules together: each alarm has
// one rule, and the text that the rules look for is in the line.
func TestRulesFindTheLines(t *testing.T) {
	text, err := os.ReadFile(rules)
	must(t, err)
	ruled := map[Name]int{}
	for _, m := range ruleName.FindAllStringSubmatch(string(text), -1) {
		ruled[Name(m[1])]++
	}
	// A query of the rules, with the place of the name: message contains '...'.
	query := regexp.MustCompile(`message contains \\'(.*?)\$\{rule\.alarm\}(.*?)\\'`).FindStringSubmatch(string(text))
	if query == nil {
		t.Fatal("no rule looks for an alarm by name")
	}
	for name := range messages {
		if ruled[name] != 1 {
			t.Errorf("alarm %s has %d rules, want 1", name, ruled[name])
		}
		delete(ruled, name)
		var line bytes.Buffer
		// As hidden as LOG_LEVEL can make a line.
		Raise(t.Context(), customhandler.NewLogger(&line, slog.LevelError), name, "count", 1)
		if want := query[1] + string(name) + query[2]; !strings.Contains(line.String(), want) {
			t.Errorf("the line of %s does not hold %s: %s", name, want, line.String())
		}
	}
	for name := range ruled {
		t.Errorf("a rule looks for %s, which nothing raises", name)
	}
}

func TestRaiseFor(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	RaiseFor(t.Context(), logger, TenantsOverdue, nil)
	if log.Len() > 0 {
		t.Errorf("no tenant, and the line %s", log.String())
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("tenant-%04d", i))
	}
	RaiseFor(t.Context(), logger, TenantsOverdue, many)
	if !strings.Contains(log.String(), `"count":1000,"tenants":["tenant-0000",`) || strings.Contains(log.String(), "tenant-0020") {
		t.Errorf("the line for 1000 tenants is %s", log.String())
	}
}

func TestLook(t *testing.T) {
	account := storagetest.Open(t, azuritetest.ForTest(t).ConnectionString())
	now := time.Now()
	var log bytes.Buffer
	w := &Watch{
		Queues: []Watched{
			{Queue: account.Queue("quick"), Poison: account.Queue("quick-poison"), Patience: time.Hour},
			{Queue: account.Queue("slow"), Poison: account.Queue("slow-poison"), Patience: 12 * time.Hour},
		},
		Now: func() time.Time { return now },
		Log: slog.New(slog.NewJSONHandler(&log, nil)),
	}
	look := func(want ...string) {
		t.Helper()
		log.Reset()
		must(t, w.Look(t.Context()))
		for _, text := range want {
			if !strings.Contains(log.String(), text) {
				t.Errorf("the log lacks %s:\n%s", text, log.String())
			}
		}
		if got := strings.Count(log.String(), "\n"); got != len(want) {
			t.Errorf("the log has %d lines, want %d:\n%s", got, len(want), log.String())
		}
	}
	look() // the queues do not exist yet
	for _, queue := range []string{"quick", "slow"} {
		must(t, account.Queue(queue).Send(t.Context(), "work", 0))
	}
	look()
	now = now.Add(2 * time.Hour)
	look(`"alarm":"queue_waiting","queue":"quick","minutes":1`)
	for range 2 {
		must(t, account.Queue("slow-poison").Send(t.Context(), "failed", 0))
	}
	look(`"alarm":"queue_waiting","queue":"quick"`, `"alarm":"poison_messages","queue":"slow-poison","count":2`)
}

var must = fail.If
