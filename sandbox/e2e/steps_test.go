package e2e

import (
	"fmt"
	"net/http"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/storageproxy"
)

// steps are what a sync does, in order.
var steps = []step{
	{name: "document template create", ends: warned, says: []string{"could not be set up", "/v2/document-templates"}, alone: true, ninja: &ninjasim.Fault{Method: "POST", Path: "^/v2/document-templates$"}},
	{name: "NinjaOne token", but: tooLong, ends: failed, says: []string{"getting an access token", "/ws/oauth/token"}, alone: true, ninja: &ninjasim.Fault{Path: "^/ws/oauth/token$"}},
	{name: "document templates read", ends: warned, says: []string{"ocument", "/v2/document-templates"}, alone: true, ninja: &ninjasim.Fault{Method: "GET", Path: "^/v2/document-templates$"}},
	{name: "custom field definitions read", but: tooLong, ends: failed, says: []string{"NinjaOne's custom fields could not be read", "/v2/device-custom-fields"}, alone: true, ninja: &ninjasim.Fault{Path: "^/v2/device-custom-fields$"}},
	{name: "relations read", ends: warned, says: []string{"relations of documents could not be read", "/v2/related-items/"}, alone: true, again: true, force: true, ninja: &ninjasim.Fault{Path: "^/v2/related-items/with-entity-type/"}},
	{name: "report download", but: notInTime, ends: warned, says: []string{"Not read: mailbox usage, OneDrive usage, because "}, alone: true, microsoft: &m365sim.Fault{Service: "download"}},

	{name: "login token", but: tooLong, ends: failed, says: []string{"Microsoft 365 could not be read", "sign-in service"}, microsoft: &m365sim.Fault{Service: "login"}},
	{name: "Graph batch", but: notInTime, ends: warned, says: []string{"Not read: ", "domains"}, microsoft: &m365sim.Fault{Service: "graph", Path: path(`/v1.0/\$batch`)}},
	{name: "part of a Graph batch", ends: warned, says: []string{"Not read: licences, because "}, microsoft: &m365sim.Fault{Service: "graph", Path: path(`/v1.0/subscribedSkus`)}},
	{name: "Graph page", but: notInTime, ends: warned, says: []string{"Not read: users, because "}, microsoft: &m365sim.Fault{Service: "graph", Path: path(`/v1.0/users`)}},
	{name: "Graph second page", but: notInTime, ends: warned, says: []string{"Not read: users, because "}, microsoft: &m365sim.Fault{Service: "graph", Path: path(`/v1.0/users`), Skip: 1}},
	{name: "Graph delta", but: map[string]expectation{"403": {warned, []string{"Not read: groups, because "}}, "time-out": {}}, microsoft: &m365sim.Fault{Service: "graph", Path: path(`/v1.0/groups/delta`)}},
	{name: "Intune devices", but: notInTime, ends: warned, says: []string{"Not read: Intune devices, compliance policies, because "}, microsoft: &m365sim.Fault{Service: "graph", Path: path(`/(beta|v1.0)/deviceManagement/managedDevices`)}},
	{name: "Exchange", but: notInTime, ends: warned, says: []string{"Not read: mailboxes, mailbox protocols", "because "}, microsoft: &m365sim.Fault{Service: "exchange"}},

	{name: "NinjaOne devices read", but: map[string]expectation{"time-out": {warned, []string{"came to no end", "it took longer than half of the sync's time"}}}, ends: failed, says: []string{"the devices of the NinjaOne organization could not be read", "/v2/devices-detailed"}, ninja: &ninjasim.Fault{Path: "^/v2/devices-detailed$"}},
	{name: "changes in NinjaOne read", but: map[string]expectation{"time-out": {}}, again: true, ninja: &ninjasim.Fault{Path: "^/v2/queries/custom-fields-detailed$"}},
	{name: "organization write", inBatch: true, ends: warned, says: []string{"One target could not be written in NinjaOne and is tried again", "/custom-fields"}, ninja: &ninjasim.Fault{Method: "PATCH", Path: "^/v2/organization/[0-9]+/custom-fields$"}},
	{name: "device write", inBatch: true, ends: warned, says: []string{"3 devices could not be written in NinjaOne and are tried again", "/v2/device/"}, ninja: &ninjasim.Fault{Method: "PATCH", Path: "^/v2/device/"}},
	{name: "documents read", ends: warned, says: []string{"could not be read, so none were written", "/v2/organization/documents"}, ninja: &ninjasim.Fault{Method: "GET", Path: "^/v2/organization/documents$"}},
	{name: "document create", ends: warned, says: []string{"documents", "/v2/organization/documents"}, ninja: &ninjasim.Fault{Method: "POST", Path: "^/v2/organization/documents$"}},
	{name: "document update", ends: warned, says: []string{"documents", "/v2/organization/documents"}, again: true, ninja: &ninjasim.Fault{Method: "PATCH", Path: "^/v2/organization/documents$"}},
	{name: "relation create", ends: warned, says: []string{"relations of documents could not be written", "/v2/related-items/"}, ninja: &ninjasim.Fault{Method: "POST", Path: "^/v2/related-items/"}},
	{name: "relation delete", ends: warned, says: []string{"relation of documents could not be written", "/v2/related-items/"}, again: true, ninja: &ninjasim.Fault{Method: "DELETE", Path: "^/v2/related-items/"}},

	{name: "CIPP's settings", ends: handed, alone: true, outside: true, storage: func(*cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Table, Method: "GET", Path: named(`/Extensionsconfig`)}
	}},
	{name: "organization's lease", ends: handed, outside: true, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Blob, Path: named(fmt.Sprintf(`/lease/[^/]+/%d$`, c.organization))}
	}},
	{name: "run's start in our state", ends: handed, outside: true, storage: func(c *cell) storageproxy.Fault { return runRow(c) }},
	{name: "run's start in CIPP's mapping", ends: handed, outside: true, storage: func(c *cell) storageproxy.Fault { return mappingRow(c) }},
	{name: "state read", but: tooLong, ends: failed, says: []string{"read what NinjaOne organization", "last accepted"}, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Table, Method: "GET", Path: named(`/NinjaOneSyncState\(\)$`), Holds: []string{stateOf(c) + "'"}}
	}},
	{name: "matches kept", ends: failed, says: []string{"keep which devices of tenant"}, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Blob, Method: "PUT", Path: named(`/matches/` + c.tenant.ID)}
	}},
	{name: "section kept", ends: failed, says: []string{"sections/"}, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Blob, Method: "PUT", Path: named(`/sections/.*` + c.tenant.ID)}
	}},
	{name: "device map", ends: failed, says: []string{"NinjaOneDeviceMap"}, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Table, Path: named(`/(\$batch|NinjaOneDeviceMap\(.*\))$`), Holds: []string{"NinjaOneDeviceMap", c.tenant.ID}}
	}},
	{name: "state mark", ends: failed, says: []string{"NinjaOneSyncState"}, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Table, Method: "POST", Path: named(`/\$batch$`), Holds: []string{`"PartitionKey":"` + stateOf(c) + `"`}}
	}},
	{name: "state settled", ends: failed, says: []string{"note what NinjaOne organization", "NinjaOneSyncState"}, repeats: true, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Table, Method: "POST", Path: named(`/\$batch$`), Holds: []string{`"PartitionKey":"` + stateOf(c) + `"`, `"ComplianceClaim":""`}}
	}},
	{name: "documents marked", ends: failed, says: []string{"note what is known of documents"}, storage: func(c *cell) storageproxy.Fault { return documentRows(c) }},
	{name: "documents settled", ends: failed, says: []string{"note what is known of documents"}, repeats: true, storage: func(c *cell) storageproxy.Fault {
		f := documentRows(c)
		f.Skip = 1
		return f
	}},
	{name: "user map", ends: failed, says: []string{"NinjaOneUserMap"}, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Table, Path: named(`/(\$batch|NinjaOneUserMap\(.*\))$`), Holds: []string{"NinjaOneUserMap", c.tenant.ID}}
	}},
	{name: "run's end in our state", ends: handed, outside: true, storage: func(c *cell) storageproxy.Fault {
		f := runRow(c)
		f.Skip = 1
		return f
	}},
	{name: "logbook", ends: handed, outside: true, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Table, Path: named(`/CippLogs\(`), Holds: []string{c.tenant.DefaultDomain}}
	}},
	{name: "run's end in CIPP's mapping", ends: handed, outside: true, storage: func(c *cell) storageproxy.Fault {
		f := mappingRow(c)
		f.Skip = 1
		return f
	}},
	{name: "queue, to go on later", ends: handed, outside: true, with: &ninjasim.Fault{Method: "PATCH", Path: "^/v2/device/", Status: 429, Header: retryAfter("90"), Skip: 1}, storage: func(c *cell) storageproxy.Fault {
		return storageproxy.Fault{Service: storageproxy.Queue, Method: "POST", Path: named(`/ninjaone-sync/messages$`)}
	}},
}

// tooLong and notInTime are what becomes of a run whose reading takes longer than
// half of its time: without what it needs it fails, a part is left out.
var (
	tooLong   = map[string]expectation{"time-out": {failed, []string{"reading took longer than half of the sync's time, which SYNC_TIME_BUDGET sets"}}}
	notInTime = map[string]expectation{"time-out": {warned, []string{"Not read: ", "because reading the tenant took longer than half of the sync's time"}}}
)

// stateOf is the partition of our state about the cell's organization.
func stateOf(c *cell) string {
	return fmt.Sprintf("%s|%d", c.w.Seed.Ninja.Instance, c.organization)
}

// documentRows is a change of the records of several of the tenant's documents.
func documentRows(c *cell) storageproxy.Fault {
	return storageproxy.Fault{Service: storageproxy.Table, Method: "POST", Path: named(`/\$batch$`), Holds: []string{`"PartitionKey":"` + stateOf(c) + `|`}}
}

func runRow(c *cell) storageproxy.Fault {
	return storageproxy.Fault{Service: storageproxy.Table, Method: "PUT", Path: named(`/NinjaOneSyncState\(PartitionKey='run',RowKey='` + c.tenant.ID)}
}

func mappingRow(c *cell) storageproxy.Fault {
	return storageproxy.Fault{Service: storageproxy.Table, Path: named(`/CippMapping\(.*` + c.tenant.ID)}
}

// kinds are the kinds of trouble.
var kinds = []kind{
	{name: "429 with Retry-After, once", absorbed: true,
		microsoft: func(f *m365sim.Fault) { f.Status, f.RetryAfter, f.Count = 429, "1", 1 },
		ninja:     func(f *ninjasim.Fault) { f.Status, f.Header, f.Count = 429, retryAfter("1"), 1 },
	},
	{name: "429 without Retry-After, once", absorbed: true,
		microsoft: func(f *m365sim.Fault) { f.Status, f.Count = 429, 1 },
		ninja:     func(f *ninjasim.Fault) { f.Status, f.Count = 429, 1 },
		not:       map[string]string{"document create": notRepeated, "relation create": notRepeated, "document template create": notRepeated},
	},
	{name: "429 that lasts", throttles: true, cuts: "throttled by NinjaOne",
		microsoft: func(f *m365sim.Fault) { f.Status, f.RetryAfter = 429, "1" },
		ninja:     func(f *ninjasim.Fault) { f.Status, f.Header = 429, retryAfter("90") },
	},
	{name: "503, once", absorbed: true,
		microsoft: func(f *m365sim.Fault) { f.Status, f.Count = 503, 1 },
		ninja:     func(f *ninjasim.Fault) { f.Status, f.Header, f.Count = 503, retryAfter("1"), 1 },
		storage:   func(f *storageproxy.Fault) { f.Status, f.Code, f.Count = 503, "ServerBusy", 1 },
	},
	{name: "server error that lasts",
		microsoft: func(f *m365sim.Fault) { f.Status, f.RetryAfter = 503, "0" },
		ninja:     func(f *ninjasim.Fault) { f.Status = 502 },
		storage: func(f *storageproxy.Fault) {
			f.Status, f.Code = 500, "InternalError"
			if f.Service == storageproxy.Table {
				f.Status, f.Code = 503, "ServerBusy"
			}
		},
	},
	{name: "connection reset",
		microsoft: func(f *m365sim.Fault) { f.Reset = true },
		ninja:     func(f *ninjasim.Fault) { f.Reset = true },
		storage:   func(f *storageproxy.Fault) { f.Reset = true },
		not:       wholeBatch,
	},
	{name: "connection reset after the work, once", absorbed: true, repeats: true,
		ninja:   func(f *ninjasim.Fault) { f.Reset, f.AfterHandling, f.Count = true, true, 1 },
		storage: func(f *storageproxy.Fault) { f.Reset, f.AfterHandling, f.Count = true, true, 1 },
	},
	{name: "HTML with status 200",
		microsoft: func(f *m365sim.Fault) { f.HTML = true },
		ninja: func(f *ninjasim.Fault) {
			f.Status, f.Header, f.Body = 200, http.Header{"Content-Type": {"text/html"}}, "<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back.</body></html>"
		},
		not: wholeBatch,
	},
	{name: "malformed JSON",
		microsoft: func(f *m365sim.Fault) { f.Malformed = true },
		ninja:     func(f *ninjasim.Fault) { f.Malformed = true; f.AfterHandling = f.Method == "GET" || f.Method == "" },
		not:       wholeBatch,
	},
	{name: "expired token", absorbed: true,
		microsoft: func(f *m365sim.Fault) { f.ExpireToken, f.Count = true, 1 },
		ninja: func(f *ninjasim.Fault) {
			f.Status, f.Body, f.Count = 401, `{"error":"not_authenticated","error_code":10}`, 1
		},
		not: map[string]string{"login token": noToken, "report download": noToken, "NinjaOne token": noToken},
	},
	{name: "403",
		microsoft: func(f *m365sim.Fault) { f.Status = 403 },
		ninja:     func(f *ninjasim.Fault) { f.Status, f.Body = 403, `{"resultCode":"FORBIDDEN"}` },
		storage:   func(f *storageproxy.Fault) { f.Status, f.Code = 403, "AuthorizationFailure" },
	},
	{name: "time-out", budget: 5 * time.Second, wideBudget: 20 * time.Second, cuts: "the time for one run was used up",
		microsoft: func(f *m365sim.Fault) { f.Hang = true },
		ninja:     func(f *ninjasim.Fault) { f.Hang = true },
		storage:   func(f *storageproxy.Fault) { f.Hang = true },
		not:       wholeBatch,
	},
	{name: "kill", kill: true,
		microsoft: func(f *m365sim.Fault) { f.Hang = true },
		ninja:     func(f *ninjasim.Fault) { f.Hang = true },
		storage:   func(f *storageproxy.Fault) { f.Hang = true },
		not:       wholeBatch,
	},
	{name: "kill after the work", kill: true, repeats: true,
		ninja:   func(f *ninjasim.Fault) { f.Hang, f.AfterHandling = true, true },
		storage: func(f *storageproxy.Fault) { f.Hang, f.AfterHandling = true, true },
	},
}

const (
	notRepeated = "is not repeated, since nothing says that it was not done"
	noToken     = "needs no token"
)

// wholeBatch is what happens only to a batch as a whole.
var wholeBatch = map[string]string{"part of a Graph batch": "is part of an answer that is sound"}

func retryAfter(seconds string) http.Header { return http.Header{"Retry-After": {seconds}} }
