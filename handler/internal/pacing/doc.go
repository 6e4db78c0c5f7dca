// Package pacing finds how many calls NinjaOne takes, and divides them among all
// processes of the handler, with no coordinator. Whoever calls NinjaOne holds
// slots, which are leases of blobs, and every slot is worth a fixed part of its
// lane's rate. It knows paces, slots and rates; what a run does, how a call is
// made and how a lease is kept stay out.
//
// # The pace
//
// NinjaOne publishes no limit, so the pace, all calls per second of all processes
// together, is found by what NinjaOne answers (find.go, pure). It rises fast
// while it is used and nothing is known against it. A call that is turned away
// takes it back to what passed before; a second one soon after that to less, and
// each further one to half. Below the pace that was refused it comes near in a
// few steps, and rests there. Every 20 seconds, and 120 calls, it probes a little
// higher: a limit that has risen is found within a minute, and one call in a
// hundred is the price. Answers that take twice as long as usual count as being
// turned away.
//
// Nobody knows over what time NinjaOne counts. Calls are spaced evenly, which is
// right for any. A limit that counts over a minute shows by refusing calls one by
// one for seconds: then the pace is what passed in the last minute. Calls that a
// bucket lets through on top of its limit fool a probe once; the next takes
// longer.
//
// What is learnt is in one row for each instance (schema.go). While a process
// makes calls it reads the row every four seconds, and writes there, by its ETag,
// what it sees: each pace is judged by one process, with the calls of all (pace.go).
// A call that is turned away counts at once in the process that made it, and
// within four seconds in the others. A process that cannot reach the row goes on,
// lowers its own pace, and never raises it.
//
// # Lanes
//
// A lane is a part of the pace: syncs have one, compliance updates another, so that
// they never wait behind syncs, and people at a page a third. Those that are in
// use share what the others leave. The process in which a lane comes into use gives
// it its part at once, and the others follow when they read the row; for up to
// five seconds the lanes together may make more calls than the pace by the part
// that comes back. A lane keeps its part for ten seconds after its last call.
//
// Syncs and compliance updates have slots. Every run has one; a process takes the
// free slots too while it has a run, so that one process alone gets the rate of
// the whole lane.
//
// # Safety
//
// At any time the rates that all processes grant themselves in a lane add up to no
// more than the lane's rate, as the one knows it that knows the highest:
//
//   - A process grants itself (slots held) × (rate ÷ slots of the lane); a slot
//     counts for whoever holds its lease, and nobody else knows of it. It raises
//     its rate after it got a lease, and lowers it before it gives one back, under
//     one lock.
//   - Two processes never count the same slot. The service gives a lease to one
//     holder at a time, and the holder counts it from after the service gave it
//     until before the service could give it to another: storage.Lease ends its
//     context when 5/6 of the duration are over since the last successful
//     request was begun, which is before the service's own count. An attempt to
//     take a lease is given up after a third of the duration, so that this
//     holds from the beginning.
//   - A lower rate holds from the next call on, and a higher one brings no
//     burst with it: see ninjaone.Pool.SetRate. In any time w all processes
//     together therefore start at most rate × w calls, and the one that each
//     limiter had saved up.
//   - A process that is killed makes no calls, and its slots come free when
//     their leases end. A process that is frozen for longer than a lease can
//     make, when it goes on, no more than the call that its limiter had saved up:
//     the lease's timer is overdue by then and stops it.
//
// All processes need the same settings. The host restarts them all when
// settings change.
//
// # Liveness
//
// A process that waits for a slot asks for all free ones at every poll, about
// every 5 s. If it gets none it raises a signal in the row of the pace, which goes
// away with its process. There are two: "first" is raised by processes without a
// slot, "more" by processes with too few.
//
// A process that holds slots looks for both signals at every poll. One that another
// has raised means that somebody waits: then the process takes no further slots
// beyond what its runs need, none at all for "first", and gives up a slot that
// its runs do not need, at most one in two polls, so that the one who waits has
// asked again before the next is given up. Hence, while anybody holds a slot
// without a run, one that waits gets a slot after about three polls, and each
// further one after about three more. If all slots have runs, "first" makes a
// process that has not given up any for six polls keep a place free when a run
// ends; so no process waits for as long as others have work.
//
// # Blobs
//
// In lane "sync" with four slots: slot/sync-0 to slot/sync-3. All are empty.
package pacing
