package pacing

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

var must = fail.If

const shortPoll = 100 * time.Millisecond

// openContainer opens a container and a table of the emulator that the connection
// string leads to.
func openContainer(connection, name string) (*storage.Container, *storage.Table, error) {
	account, err := storage.Open(func(setting string) string {
		if setting == storage.Own {
			return connection
		}
		return ""
	}, storage.Own)
	if err != nil {
		return nil, nil, err
	}
	return account.Container(name), account.Table(strings.ReplaceAll(name, "-", "")), nil
}

// blobLane is a lane on blobs of the emulator, in real time.
func blobLane(t *testing.T, slots int, rate float64) *lane {
	t.Helper()
	blobs, _, err := openContainer(azuritetest.ForTest(t).ConnectionString(), azuritetest.UniqueName(t))
	must(t, err)
	return &lane{newService(), newMeter(t, rate), Config{
		Blobs: blobs, Lane: Lane{"sync", slots, rate}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}}
}

func (la *lane) onBlobs() *process {
	pr := &process{service: la.service, meter: la.meter}
	config := la.config
	config.Board = pr
	config.SetRate = func(rate float64) { la.meter.set(pr, rate) }
	pr.Pacer = New(config)
	pr.poll = shortPoll
	return pr
}

func TestBlobLeases(t *testing.T) {
	la := blobLane(t, 4, 5)
	a, b := la.onBlobs(), la.onBlobs()
	first := a.must(t, time.Minute)
	la.meter.await(a, 5)
	second := b.must(t, time.Minute)
	la.meter.await(b, 1.25)
	la.meter.await(a, 3.75)
	first.Release()
	la.meter.await(a, 0)
	la.meter.await(b, 5)
	if err := second.Context().Err(); err != nil {
		t.Errorf("a run was stopped: %v", err)
	}
	second.Release()
	la.meter.await(b, 0)
}

func TestLanesOnOneContainerAreApart(t *testing.T) {
	la := blobLane(t, 1, 4)
	other := &lane{newService(), newMeter(t, 1), la.config}
	other.config.Name, other.config.Rate = "compliance", 1
	a, b := la.onBlobs(), other.onBlobs()
	sync, compliance := a.must(t, time.Minute), b.must(t, time.Minute)
	la.meter.await(a, 4)
	other.meter.await(b, 1)
	if _, err := other.onBlobs().Acquire(t.Context(), 3*shortPoll); !errors.Is(err, ErrBusy) {
		t.Errorf("a second compliance run: %v", err)
	}
	sync.Release()
	compliance.Release()
}

// TestManyRunsOnBlobLeases lets five processes compete for three slots with
// short runs, as fast as the emulator goes.
func TestManyRunsOnBlobLeases(t *testing.T) {
	la := blobLane(t, 3, 5)
	var left atomic.Int64
	left.Store(100)
	var wg sync.WaitGroup
	for range 5 {
		pr := la.onBlobs()
		for range 2 {
			wg.Go(func() {
				for left.Load() > 0 {
					s, err := pr.Acquire(t.Context(), 2*time.Second)
					switch {
					case errors.Is(err, ErrBusy):
						continue
					case err != nil:
						t.Error(err)
						return
					}
					select {
					case <-time.After(rand.N(50 * time.Millisecond)):
					case <-s.Context().Done():
						t.Error("a run lost its slot")
					}
					s.Release()
					left.Add(-1)
				}
			})
		}
	}
	wg.Wait()
}
