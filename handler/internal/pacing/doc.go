// Package pacing divides the rate of calls that NinjaOne allows among all
// processes of the handler, with no coordinator: whoever calls NinjaOne holds
// slots, which are leases of blobs, and every slot is worth a fixed part of the
// rate. It knows slots and rates; what a run does, how a call is made and how a
// lease is kept stay out.
//
// A lane is a set of slots with a part of the rate to itself. Syncs have one,
// and compliance updates another, so that they never wait behind syncs. Every
// run has a slot; a process takes the free slots too while it has a run, so
// that one process alone gets the rate of the whole lane, and borrows slots of
// the other lane while nobody has a run there.
//
// # Safety
//
// At any time the rates that all processes grant themselves add up to no more
// than the lanes' rates together:
//
//   - A process grants itself (slots held) × (rate ÷ slots of the lane), and the
//     same for each slot that it borrowed of another lane; a slot counts for
//     whoever holds its lease, and nobody else knows of it. It raises its rate after it got a lease, and lowers it before it gives one
//     back, under one lock.
//   - Two processes never count the same slot. The service gives a lease to one
//     holder at a time, and the holder counts it from after the service gave it
//     until before the service could give it to another: storage.Lease ends its
//     context when 5/6 of the duration are over since the last successful
//     request was begun, which is before the service's own count. An attempt to
//     take a lease is given up after a third of the duration, so that this
//     holds from the beginning.
//   - A lower rate holds from the next call on, and a higher one brings no
//     burst with it: see ninjaone.Pool.SetRate. In any time w all processes
//     together therefore start at most rate × w calls, and the few that their
//     limiters had saved up: those of a fifth of a second, or one.
//   - A process that is killed makes no calls, and its slots come free when
//     their leases end. A process that is frozen for longer than a lease can
//     make, when it goes on, no more than the calls that its limiter had saved
//     up: the lease's timer is overdue by then and stops it.
//
// All processes need the same settings. The host restarts them all when
// settings change.
//
// # Liveness
//
// A process that waits for a slot asks for all free ones at every poll, about
// every 5 s. If it gets none it holds a signal, which is a lease too, and so
// goes away with its process. There are two: "first" is held by processes
// without a slot, "more" by processes with too few. Whoever holds a signal has
// nothing that the signal asks for, so it need not hear it.
//
// A process that holds slots tries both signals at every poll. One that is
// taken means that somebody waits: then the process takes no further slots
// beyond what its runs need, none at all for "first", and gives up a slot that
// its runs do not need, at most one in two polls, so that the one who waits has
// asked again before the next is given up. Hence, while anybody holds a slot
// without a run, one that waits gets a slot after about three polls, and each
// further one after about three more. If all slots have runs, "first" makes a
// process that has not given up any for six polls keep a place free when a run
// ends; so no process waits for as long as others have work.
//
// # Borrowing
//
// Only runs of a lane's own are admitted to its slots; borrowed slots add to the
// rate alone. A process borrows while it has runs and holds a slot of its own
// lane, and never the slot 0 of another lane: so the first process that has a
// run there gets that slot at once. A process that has runs, or waits for a
// slot, and does not hold all slots of its lane, holds the lane's signal
// "owner". Whoever borrows asks for that signal at every poll; when it is taken
// it gives back all that it borrowed of the lane, and borrows no more until the
// signal has been free for two polls. So the lane's own runs have its whole
// rate after about two polls.
//
// # Blobs
//
// In lane "sync" with four slots: slot/sync-0 to slot/sync-3, slot/sync-first,
// slot/sync-more, slot/sync-owner. All are empty.
package pacing
