// Package m365sim simulates the parts of Microsoft 365 that the handler reads, over real
// HTTP. They are the login service, Microsoft Graph (v1.0 and beta), the Exchange Online
// admin API and Defender's vulnerability export.
//
// It is strict. It refuses a call that the published contracts do not allow with the
// service's own error. It refuses in the same way what this project never asks for, such as
// sorting: add that here when it is needed. It notes the call in [Server.Violations]. So a test can assert
// that the code under test never needed leniency.
//
// It also keeps subscriptions to changes and shakes hands with their receivers.
// [Server.Deliver] makes it deliver notifications.
//
// Tenants are plain data ([Tenant], [Entity]) and can be changed between two
// reads. Trouble is ordered with [Fault] and with the knobs of a tenant.
//
// Nothing of the handler may be imported here: a simulator that shares the
// handler's types would share its misunderstandings. Secrets are compared, never
// logged.
package m365sim
