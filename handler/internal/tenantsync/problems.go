package tenantsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// repeatAfter is how long a lasting problem stays silent in the logbook.
const repeatAfter = 24 * time.Hour

// maxProblems bounds the list kept with a run, far below a table row's limit.
const maxProblems = 40

// Problem is one thing a run could not do, with what to do about it.
type Problem struct {
	Key     string    `json:"key"`     // same problem, same key
	Message string    `json:"message"` // for a technician; no personal data
	Since   time.Time `json:"since"`   // when it first appeared
	Told    time.Time `json:"told"`    // when the logbook last said it
	// Notice marks what is as somebody wants it, and is told once only.
	Notice bool `json:"notice,omitempty"`
}

// problems collects the problems of one run, many of a kind as one. It is safe
// for concurrent use.
type problems struct {
	mu    sync.Mutex
	order []string
	byKey map[string]*tally
}

type tally struct {
	first  string
	many   func(n int, first string) string
	n      int
	notice bool
}

// add notes a problem of its own.
func (p *problems) add(key, format string, args ...any) {
	p.count(key, fmt.Sprintf(format, args...), func(_ int, first string) string { return first })
}

// notice notes what is told once, and is nothing to mend.
func (p *problems) notice(key, format string, args ...any) {
	p.add(key, format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byKey[key].notice = true
}

// count notes one more occurrence of a problem; many words them all.
func (p *problems) count(key, first string, many func(n int, first string) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byKey == nil {
		p.byKey = map[string]*tally{}
	}
	t, ok := p.byKey[key]
	if !ok {
		t = &tally{first: first, many: many}
		p.byKey[key] = t
		p.order = append(p.order, key)
	}
	t.n++
}

// list returns the problems in a fixed order.
func (p *problems) list() []Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := slices.Sorted(slices.Values(p.order))
	var list []Problem
	for _, k := range keys {
		t := p.byKey[k]
		list = append(list, Problem{Key: k, Message: t.many(t.n, t.first), Notice: t.notice})
	}
	if len(list) > maxProblems {
		rest := len(list) - maxProblems + 1
		list = append(list[:maxProblems-1], Problem{Key: "more", Message: fmt.Sprintf("And %d further problems.", rest)})
	}
	return list
}

// line is one line for the logbook.
type line struct {
	severity string
	message  string
}

// reconcile compares a run's problems with those of the run before. It
// returns the list to keep and the lines the logbook is owed: a problem when
// it appears, once a day while it lasts, and once when it is gone.
func reconcile(before, now []Problem, at time.Time) (keep []Problem, lines []line) {
	old := map[string]Problem{}
	for _, p := range before {
		old[p.Key] = p
	}
	for _, p := range now {
		p.Since, p.Told = at, at
		if b, ok := old[p.Key]; ok {
			p.Since = b.Since
			if p.Notice || at.Sub(b.Told) < repeatAfter {
				p.Told = b.Told
			}
			delete(old, p.Key)
		}
		switch {
		case !p.Told.Equal(at):
		case p.Notice:
			lines = append(lines, line{cipp.SeverityInfo, p.Message})
		default:
			lines = append(lines, line{cipp.SeverityWarn, p.Message})
		}
		keep = append(keep, p)
	}
	for _, b := range before {
		if _, gone := old[b.Key]; gone && !b.Notice {
			lines = append(lines, line{cipp.SeverityInfo, "No longer a problem: " + strings.TrimSuffix(b.Message, ".") + "."})
		}
	}
	return keep, lines
}

// Logbook is CIPP's logbook.
type Logbook interface {
	Log(ctx context.Context, entry cipp.LogEntry) error
}

// problemsPartition holds the problems of what is not one tenant's run.
const problemsPartition = "problems"

// Announce compares the present problems of owner with those it had before,
// writes the logbook lines that are owed, and keeps the list.
func (s *State) Announce(ctx context.Context, book Logbook, owner string, now []Problem, at time.Time) error {
	return s.announce(ctx, book, tenant.Ref{}, owner, now, at)
}

// announce is Announce for problems of one tenant.
func (s *State) announce(ctx context.Context, book Logbook, of tenant.Ref, owner string, now []Problem, at time.Time) error {
	row, err := s.table.Get(ctx, problemsPartition, owner)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("read the problems of %s: %w", owner, err)
	}
	before := problemsOf(row)
	keep, lines := reconcile(before, now, at)
	if len(lines) == 0 {
		return nil
	}
	for _, l := range lines {
		if err := book.Log(ctx, cipp.LogEntry{Tenant: of.DefaultDomain, TenantID: of.ID, API: apiName, Severity: l.severity, Message: l.message}); err != nil {
			return err
		}
	}
	list, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	return s.table.Replace(ctx, storage.Entity{"PartitionKey": problemsPartition, "RowKey": owner, "Version": int32(stateVersion), "Problems": string(list)})
}
