// Package ninjaone is a client of NinjaOne's public API v2. It covers organizations,
// devices, custom fields, document templates, documents, relations, activities and scan
// groups.
//
// It knows the API and nothing else. What may not enter: Microsoft 365, CIPP,
// storage, the composition of field values, and any decision about what to
// write. It depends on net/http, golang.org/x/oauth2, golang.org/x/sync and
// golang.org/x/time/rate.
//
// Every call goes through newRequest and do. These own the access token, the pacing, the
// retries and the error types. Paths in the comments of methods are those of NinjaOne's
// OpenAPI document; the client requests them below /api.
package ninjaone
