// Package bench measures the bundle from outside. The handler's binary, built as it is
// deployed, runs under the stand-in for the Functions host. The storage emulator and the
// simulated services are on the same machine. `make bench` runs it. No benchmark fails
// because of time. One fails when the handler sends NinjaOne what it need not send, or
// leaves out what changed.
//
// Nothing of the handler may be imported here, and only benchmarks and what they
// need belong here.
//
// # What the numbers are
//
//   - calls: HTTP requests that reached a service, by endpoint. The parts of a Graph
//     batch are listed apart, as they cost no round trip of their own. A repeated
//     request counts again.
//   - wall-ms: how long the invocation of SyncTenant took, as the host saw it. Both
//     simulators hold every answer back for 100 ms. NINJAONE_RATE is so high that it
//     never holds a call back. Nothing delays storage: the emulator is as slow as it
//     is.
//   - before, reads, between, writes, after: the same time in parts. The cuts are where
//     the first read of Microsoft 365 or NinjaOne begins and where the last one ends.
//     Further cuts are where the first write in NinjaOne begins and the last one ends.
//   - critical-ms: the critical path, at 100 ms a call. It is the longest chain of
//     calls of which each needs the answer of the one before. Function chains lists the
//     chains of the reads; a page needs the page before it. Calls that need only the
//     same answer are one link, however many the handler sends at once. Examples are
//     the batches of policy states, and those of their settings. The writes follow the
//     last read and count as ceil(writes/8) links. The handler keeps no more than eight
//     of them under way. Storage and computing are not on the path.
//   - ratio: wall-ms by critical-ms.
//   - cpu-ms: processor time that the handler used, user and system. The simulators and
//     the emulator take theirs from the same processors. That is part of wall-ms but
//     not of this.
//   - peak-MB: the largest resident set of the handler's process since it started, in
//     MiB. It and cpu-ms come from /proc, and are left out where there is none.
//
// # Nights
//
// BenchmarkNights and BenchmarkFiveASecond ask how many tenants fit into a night. We take
// NinjaOne to allow five calls a second. The simulated NinjaOne enforces that rate here
// and answers 429 beyond it. Nothing else is held back. Syncs have the whole rate while
// nobody else calls NinjaOne, and NINJAONE_RATE is the pace from the beginning. How to
// find the pace is for the handler's package pacing. Its TestFirstNight syncs
// NIGHT_TENANTS tenants in simulated time.
//
//   - factor: how many times as fast as in a real night time passes. It multiplies
//     NinjaOne's rate and the handler's. What is counted in seconds (leases, polls)
//     stays, so that it weighs so many times more. So a night of a thousand tenants,
//     101,000 writes, fits into minutes, if the processors can carry it. Handler,
//     emulator and simulators share the processors. Where they use all of these,
//     of-allowed is the machine's and not the handler's. BenchmarkFiveASecond shows the
//     truth at factor 1, with 200 ms for every answer. NIGHT_TENANTS and NIGHT_FACTOR
//     change tenants and factor; factor 1 is the true night, of hours.
//   - of-allowed: calls that reached NinjaOne per second, by the calls allowed. It
//     counts while there was work for every slot: until the last tenant's sync began.
//   - peak-of-allowed: the most calls within a second, by the calls allowed.
//   - 429s: calls that NinjaOne turned away.
//   - hours-at-5/s: how long all the calls take at five calls a second.
//
// On a typical day two users and two devices of a hundred really change in each tenant.
// Everything else moves as it does: see seed.TypicalDay. In the night after the first
// nothing is old enough for the weekly rewrite of every target. BenchmarkSteadyDay
// measures a day that has its seventh of that.
//
// The simulators hold all tenants in memory, four gigabytes for a thousand.
//
// # Within minutes
//
// BenchmarkWithinMinutes changes users, licences, groups, roles, devices and primary
// users, each in a tenant of its own. It waits until the field or document that shows the
// change holds it. Up to WATCH_MINUTES of that is the wait for the next look. One host
// carries all looks and runs, beside the simulators. Where the machine is busy with
// something else, looks queue up, and the times are the machine's.
package bench
