package engine

import "context"

// Standing is whether CIPP's own engine is kept from running.
type Standing struct {
	Given bool // it was given back on purpose
	Held  bool // its scheduler's rows keep it from starting anything
	// Subscriptions counts its Graph subscriptions on devices that are left,
	// through which it writes the compliance field.
	Subscriptions int
}

// Standing reads, past what this app believes, whether CIPP's engine would run.
func (h *Hold) Standing(ctx context.Context) (Standing, error) {
	k, err := h.load(ctx)
	if err != nil {
		return Standing{}, err
	}
	rows, err := h.CIPP.EngineSettings(ctx)
	if err != nil {
		return Standing{}, err
	}
	list, err := h.CIPP.DeviceSubscriptions(ctx)
	if err != nil {
		return Standing{}, err
	}
	return Standing{
		Given:         k.givenBack,
		Held:          rows.SyncTime == heldSyncTime && rows.LastRun.Equal(heldLastRun),
		Subscriptions: len(list),
	}, nil
}
