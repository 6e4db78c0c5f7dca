// Package ninjaone is a client of NinjaOne's public API v2: organizations,
// devices, custom-field definitions and values, document templates, documents
// and the relations between documents and devices.
//
// It knows the API and nothing else. What may not enter: Microsoft 365, CIPP,
// storage, the composition of field values, and any decision about what to
// write. It depends on net/http, golang.org/x/oauth2, golang.org/x/sync and
// golang.org/x/time/rate.
//
// Every call goes through one pair of functions, newRequest and do, which own
// the access token, the pacing, the retries and the error types. Paths named
// in the documentation of the methods are those of NinjaOne's OpenAPI
// document; they are requested below /api.
package ninjaone
