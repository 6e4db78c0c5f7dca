// Package m365sim simulates the parts of Microsoft 365 that the handler reads:
// the login service, Microsoft Graph (v1.0 and beta), the Exchange Online admin
// API and Defender's export of vulnerabilities, over real HTTP.
//
// It is strict. A call that the published contracts do not allow is refused
// with the service's own error and is noted in [Server.Violations], so that a
// test can assert that the code under test never needed leniency.
//
// It also keeps subscriptions to changes, shakes hands with their receivers, and
// delivers notifications when it is told to ([Server.Deliver]).
//
// Tenants are plain data ([Tenant], [Entity]) and can be changed between two
// reads. Trouble is ordered with [Fault] and with the knobs of a tenant.
//
// Nothing of the handler may be imported here: a simulator that shares the
// handler's types would share its misunderstandings. Secrets are compared, never
// logged.
package m365sim
