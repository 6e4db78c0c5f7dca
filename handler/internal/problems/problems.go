// Package problems collects what a run could not do. It tells technicians in CIPP's
// logbook: when it appears, once a day while it lasts, and when it is gone.
package problems

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
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

// Collector collects the problems of one run, many of a kind as one. Its zero
// value is ready, and it is safe for concurrent use.
type Collector struct {
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

// Add notes a problem of its own.
func (p *Collector) Add(key, format string, args ...any) {
	p.Count(key, fmt.Sprintf(format, args...), func(_ int, first string) string { return first })
}

// Notice notes what is told once, and is nothing to mend.
func (p *Collector) Notice(key, format string, args ...any) {
	p.Add(key, format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byKey[key].notice = true
}

// Tally notes one more occurrence of a problem that many may share. The formats one and
// many take the first occurrence as a sentence, many after the number of all.
func (p *Collector) Tally(key, first, one, many string) {
	p.Count(key, words.End(first), func(n int, first string) string {
		if n == 1 {
			return fmt.Sprintf(one, first)
		}
		return fmt.Sprintf(many, n, first)
	})
}

// Count notes one more occurrence of a problem; many words them all.
func (p *Collector) Count(key, first string, many func(n int, first string) string) {
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

// List returns the problems in a fixed order.
func (p *Collector) List() []Problem {
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

// Reconcile compares a run's problems with those of the run before. It returns the list
// to keep and the lines that the logbook is owed.
func Reconcile(before, now []Problem, at time.Time) (keep []Problem, lines []cipp.LogEntry) {
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
			lines = append(lines, cipp.LogEntry{Severity: cipp.SeverityInfo, Message: p.Message})
		default:
			lines = append(lines, cipp.LogEntry{Severity: cipp.SeverityWarn, Message: p.Message})
		}
		keep = append(keep, p)
	}
	for _, b := range before {
		if _, gone := old[b.Key]; gone && !b.Notice {
			lines = append(lines, cipp.LogEntry{Severity: cipp.SeverityInfo, Message: "No longer a problem: " + words.End(b.Message)})
		}
	}
	return keep, lines
}

// Book tells CIPP's logbook of problems that are not one tenant's run, and keeps
// what it told. It is safe for concurrent use by different owners; its fields
// are set once.
type Book struct {
	Table *storage.Table // NinjaOneSyncState
	Log   func(context.Context, cipp.LogEntry) error
	API   string // the name under which the logbook shows the lines
}

// Announce compares the present problems of owner with those it had before. It writes
// the lines that are owed, and keeps the list. The lines are of the tenant, or of none
// where it is zero.
func (b *Book) Announce(ctx context.Context, of tenant.Ref, owner string, now []Problem, at time.Time) error {
	before, err := b.Told(ctx, owner)
	if err != nil {
		return err
	}
	keep, lines := Reconcile(before, now, at)
	if len(lines) == 0 {
		return nil
	}
	for _, l := range lines {
		l.Tenant, l.TenantID, l.API = of.DefaultDomain, of.ID, b.API
		if err := b.Log(ctx, l); err != nil {
			return err
		}
	}
	list, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	return b.Table.Replace(ctx, storage.Entity{"PartitionKey": partition, "RowKey": owner, columnProblems: string(list)})
}

// Told returns the problems that were told of an owner.
func (b *Book) Told(ctx context.Context, owner string) ([]Problem, error) {
	row, err := b.Table.Find(ctx, partition, owner)
	if err != nil {
		return nil, fmt.Errorf("read the problems of %s: %w", owner, err)
	}
	return Of(row), nil
}

// ToldOf returns the problems that were told of the owners whose names begin
// so, by owner.
func (b *Book) ToldOf(ctx context.Context, prefix string) (map[string][]Problem, error) {
	told := map[string][]Problem{}
	for row, err := range b.Table.List(ctx, storage.And(storage.Eq("PartitionKey", partition),
		storage.Ge("RowKey", prefix), storage.Lt("RowKey", prefix+"~"))) {
		if err != nil {
			return nil, fmt.Errorf("read what the logbook was told: %w", err)
		}
		told[row.RowKey()] = Of(row)
	}
	return told, nil
}

// Of reads the problems that a row keeps. An unreadable list only means that its
// problems are told again.
func Of(row storage.Entity) (list []Problem) {
	_ = json.Unmarshal([]byte(row.String(columnProblems)), &list)
	return list
}
