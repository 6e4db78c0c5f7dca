// Package pacing finds how many calls NinjaOne takes, and divides them among all the
// handler's processes, without a coordinator. Whoever calls NinjaOne holds slots, which
// are leases of blobs. Every slot is worth a fixed part of its lane's rate. The package
// knows paces, slots and rates. It does not know what a run does, how to make a call, or
// how to keep a lease.
//
// # The pace
//
// The pace is the calls per second of all processes together. NinjaOne publishes no
// limit, so NinjaOne's answers show the pace (find.go, pure). It rises fast while
// processes use it and nothing is known against it. A call that NinjaOne turns away takes
// it back to what passed before. A second one soon after takes it lower, and each further
// one halves it. It then comes near the refused pace in a few steps, and rests below it.
// Every 20 seconds, and 120 calls, it probes a little higher. So it finds a risen limit
// within a minute, at the price of one call in a hundred. Answers that take twice as long
// as usual count as turned away.
//
// Nobody knows over what time NinjaOne counts. Evenly spaced calls are right for any. A
// limit that counts over a minute refuses calls one by one for seconds. Then the pace is
// what passed in the last minute. Calls that a bucket lets through on top of its limit
// fool a probe once. The next takes longer.
//
// One row for each instance keeps what is learnt (schema.go). While a process makes calls
// it reads the row every four seconds. It writes there, by its ETag, what it sees. So one
// process judges each pace, with the calls of all (pace.go). A refusal counts at once in
// the process that made the call, and within four seconds in the others. A process that
// cannot reach the row goes on, lowers its own pace, and never raises it.
//
// # Lanes
//
// A lane is a part of the pace. Syncs have one and compliance updates another, so that
// they never wait behind syncs. People at a page have a third. Lanes in use share what
// the others leave. The process in which a lane comes into use gives it its part at once.
// The others follow when they read the row. For up to five seconds all lanes together may
// exceed the pace by the part that comes back. A lane keeps its part for ten seconds
// after its last call.
//
// Syncs and compliance updates have slots. Every run has one. A process whose calls wait,
// or that has had runs for a while, takes free slots too. So one process alone gets the
// rate of the whole lane.
//
// # Safety
//
// In each lane, the rates that all processes grant themselves never add up to more than
// the lane's rate. That is the highest rate that any process knows:
//
//   - A process grants itself (slots held) × (rate ÷ slots of the lane). A slot counts
//     for whoever holds its lease, and nobody else knows of it. A process raises its
//     rate after it got a lease. It lowers its rate before it gives one back, under one
//     lock.
//   - Two processes never count the same slot. The service gives a lease to one holder
//     at a time. The holder counts it only while the service cannot give it to another.
//     For that, storage.Lease ends its context when 5/6 of the duration are over. The
//     count begins with the last successful request's start, which is before the
//     service's own count. A process gives up an attempt to take a lease after a third
//     of the duration. So this holds from the beginning.
//   - A lower rate holds from the next call on. A higher one brings no burst with it:
//     see ninjaone.Pool.SetRate. So in any time w all processes start at most rate × w
//     calls, and each limiter the one that it saved up.
//   - A process that is killed makes no calls, and its slots come free when their
//     leases end. A process that was frozen for longer than a lease makes only the call
//     that its limiter saved up. The lease's timer is overdue by then and stops it.
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
// A process that holds slots looks for both signals at every poll. A signal that another
// has raised means that somebody waits. Then the process takes no further slots beyond
// its runs' need, and none at all for "first". It gives up a slot that its runs do not
// need, at most one in two polls. So the one who waits has asked again before the next
// slot goes. Hence, while anybody holds a slot without a run, one that waits gets a slot
// after about three polls. Each further one takes about three more. If all slots have
// runs, "first" counts where a process has not given up any for six polls. That process
// keeps a place free when a run ends. So no process waits for as long as others have
// work.
package pacing
