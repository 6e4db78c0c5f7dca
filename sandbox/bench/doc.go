// Package bench measures the bundle from outside: the handler's binary, built as
// it is deployed, under the stand-in for the Functions host, with the storage
// emulator and the simulated services on the same machine. `make bench` runs it.
// No benchmark fails because of time; one fails when the handler sends NinjaOne
// what it need not send, or leaves out what changed.
//
// Nothing of the handler may be imported here, and only benchmarks and what they
// need belong here.
//
// # What the numbers are
//
//   - calls: HTTP requests that reached a service, by endpoint. The parts of a
//     Graph batch are listed apart, as they cost no round trip of their own. A
//     repeated request counts again.
//   - wall-ms: how long the invocation of SyncTenant took, as the host saw it.
//     Both simulators hold every answer back for 100 ms, and NINJAONE_RATE is so
//     high that it never holds a call back. Storage is not delayed: the emulator
//     is as slow as it is.
//   - before, reads, between, writes, after: the same time in parts, cut where the
//     first read of Microsoft 365 or NinjaOne begins and the last one ends, and
//     where the first write in NinjaOne begins and the last one ends.
//   - critical-ms: the critical path, which is the longest chain of calls of which
//     each needs the answer of the one before, at 100 ms each. The chains of the
//     reads are listed in function chains; a page needs the page before it, and a
//     set of calls that need only the same answer (the batches of policy states,
//     and those of their settings) is one link, however many the handler sends at
//     once. The writes follow the last read and count as
//     ceil(writes/8) links, since the handler keeps no more than eight of them
//     under way. Storage and computing are not on it.
//   - ratio: wall-ms by critical-ms.
//   - cpu-ms: processor time that the handler used, user and system. The
//     simulators and the emulator run beside it and take theirs from the same
//     processors, which is part of wall-ms but not of this.
//   - peak-MB: the largest resident set of the handler's process since it started,
//     in MiB. It and cpu-ms are read from /proc and left out where there is none.
//
// # Nights
//
// BenchmarkNights and BenchmarkFiveASecond ask how many tenants fit into a night
// at the five calls a second that NinjaOne is taken to allow. The simulated
// NinjaOne enforces that rate here and answers 429 beyond it, and nothing else is
// held back. Syncs have the whole rate while nobody else calls NinjaOne, and
// NINJAONE_RATE is the pace from the beginning: how it is found is for the
// handler's package pacing, whose TestFirstNight syncs NIGHT_TENANTS tenants in
// simulated time.
//
//   - factor: how many times as fast as in a real night time passes. NinjaOne's
//     rate and the handler's are both multiplied by it; everything that is counted
//     in seconds (leases, polls) is not, so that it weighs so many times more. A
//     night of a thousand tenants, 101,000 writes, fits into minutes that way, if
//     the processors can carry it: handler, emulator and simulators share them,
//     and where their processor time adds up to that of the machine, of-allowed
//     is the machine's and not the handler's. BenchmarkFiveASecond shows the truth
//     at factor 1, with 200 ms for every answer. NIGHT_TENANTS and NIGHT_FACTOR
//     change tenants and factor; factor 1 is the true night, of hours.
//   - of-allowed: calls that reached NinjaOne per second, by the calls allowed,
//     while there was work for every slot: until the last tenant's sync began.
//   - peak-of-allowed: the most calls within a second, by the calls allowed.
//   - 429s: calls that NinjaOne turned away.
//   - hours-at-5/s: how long all the calls take at five calls a second.
//
// On a typical day two users and two devices of a hundred really change in each
// tenant, and everything else moves as it does: see seed.TypicalDay. In the night
// after the first nothing is old enough for the weekly rewrite of every target;
// BenchmarkSteadyDay measures a day that has its seventh of that.
//
// The simulators hold all tenants in memory, four gigabytes for a thousand.
//
// # Within minutes
//
// BenchmarkWithinMinutes changes users, licences, groups, roles, devices and primary
// users, each in a tenant of its own, and waits until the field or document that shows
// the change holds it. Up to WATCH_MINUTES of that is the wait for the next look. One
// host carries all looks and runs, beside the simulators: where the machine is busy
// with something else, looks queue up, and the times are the machine's.
package bench
