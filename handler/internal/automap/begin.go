package automap

import (
	"context"
	"errors"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// Outcome is how far an automap of all tenants came while somebody waited.
type Outcome struct {
	Mapped int   // tenants that were mapped, by their names
	Done   bool  // else the rest goes on by itself
	Busy   bool  // another automap is under way; this one follows
	Failed error // why nothing more was done, for a person; nil when nothing failed
}

// errRest ends the part of an automap that somebody waits for.
var errRest = errors.New("names do not decide the rest")

// Begin is Run of all tenants for a person who waits for it, but no longer than within.
// It maps the tenants whose names decide, and queues the rest for their devices to
// decide. The client is for such calls as people wait for.
func (m *Mapper) Begin(ctx context.Context, within time.Duration, client func(cipp.ExtensionConfig) (*ninjaone.Client, error)) (Outcome, error) {
	ctx = context.WithoutCancel(ctx)
	config, err := m.CIPP.NinjaOneConfig(ctx)
	switch {
	case err != nil:
		return Outcome{}, err
	case !config.Enabled:
		return Outcome{Failed: errors.New("the NinjaOne integration is turned off: turn it on and save")}, nil
	}
	awaited := *m
	awaited.Budget, awaited.NinjaOne = min(within, m.Budget), client
	return awaited.run(ctx, Message{}, true)
}

// done tells what the automap has done so far.
func (j *job) done(whole bool) Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Outcome{Mapped: len(j.progress.Mapped), Done: whole}
}
