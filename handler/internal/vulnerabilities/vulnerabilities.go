// Package vulnerabilities brings Defender's open CVEs of a tenant into NinjaOne's
// vulnerability importer, as one CSV file per tenant in a scan group.
//
// A file replaces all that the group held, and what it lacks counts as mended. So
// nothing is sent on weak evidence, and a file that is much smaller than the last
// one waits for a person. Data flow one way: read (Microsoft's export or CIPP's
// cache, exceptions, devices, scan groups), plan (pure), apply.
//
// What the tenant's sync does stays out, and the sync only reads what is kept here
// (Files.Exposure). The console reads Files.All, Files.Confirm and Worker.Preview.
package vulnerabilities

// maxFile is the largest file that NinjaOne takes, in bytes.
const maxFile = 200_000_000
