package compliance

// For the tests, which package triggertest puts to work.

const (
	Attempts      = attempts
	FieldLife     = fieldLife
	MaxNamed      = maxNamed
	SlotDelay     = slotDelay
	SweepsWriting = sweepsWriting
	Tick          = tick
	WriteBudget   = writeBudget
)

// Sweeping is full while as many sweeps write as may.
func (w *Worker) Sweeping() chan struct{} { return w.sweeping }
