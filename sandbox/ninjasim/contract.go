package ninjasim

import (
	"context"
	_ "embed"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// contract is one document in two files.
var (
	//go:embed contract.yaml
	contractParts []byte
	//go:embed contract_calls.yaml
	contractCalls []byte

	contract = slices.Concat(contractParts, contractCalls)
)

// Contract returns the OpenAPI 3.0 document, in YAML, that every request is held to.
func Contract() []byte { return append([]byte(nil), contract...) }

// contractDocument is the contract read. It is part of the program, so an error in it is a bug.
var contractDocument = sync.OnceValue(func() *openapi3.T {
	document, err := openapi3.NewLoader().LoadFromData(contract)
	if err != nil {
		panic(fmt.Sprintf("contract.yaml: %v", err))
	}
	return document
})

// contractRouter finds the operation of a request.
var contractRouter = sync.OnceValue(func() routers.Router {
	router, err := legacy.NewRouter(contractDocument())
	if err != nil {
		panic(fmt.Sprintf("contract.yaml: %v", err))
	}
	return router
})

// holdToContract returns the refusal of a request that breaks the contract, or nil.
func (s *Server) holdToContract(c *call, route *routers.Route, parameters map[string]string) *reply {
	refuse := func(status int, reason string) *reply {
		return new(s.violation(c, validationFailure(status, "invalid_request", map[string]any{"reason": reason})))
	}
	query, err := url.ParseQuery(c.request.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "query cannot be parsed: "+err.Error())
	}
	c.query = query
	for name, values := range query {
		if route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil &&
			route.PathItem.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return refuse(http.StatusBadRequest, "unknown query parameter "+name)
		}
		if len(values) > 1 {
			return refuse(http.StatusBadRequest, "query parameter "+name+" is given twice")
		}
	}
	for part := range strings.SplitSeq(c.request.URL.RawQuery, "&") {
		if name, value, _ := strings.Cut(part, "="); name == "df" && strings.Contains(value, "+") {
			return refuse(http.StatusBadRequest, "df holds a plus sign: spaces have to be sent as %20")
		}
	}
	if body := route.Operation.RequestBody; body == nil {
		if len(c.body) > 0 {
			return refuse(http.StatusBadRequest, "this call takes no body")
		}
	} else if mediaType, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type")); err != nil || body.Value.Content[mediaType] == nil {
		return refuse(http.StatusUnsupportedMediaType, fmt.Sprintf("content type %q", c.request.Header.Get("Content-Type")))
	}
	if reason := undescribedFormField(c, route.Operation); reason != "" {
		return refuse(http.StatusBadRequest, reason)
	}
	err = openapi3filter.ValidateRequest(context.WithoutCancel(c.request.Context()), &openapi3filter.RequestValidationInput{
		Request: c.request, PathParams: parameters, QueryParams: query, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			ExcludeRequestBody: isUpload(c.request.URL.Path)}, // a file is read by its own rules, once
	})
	if err != nil {
		// Only the first line: the rest of the message shows the values that were sent.
		reason, _, _ := strings.Cut(err.Error(), "\n")
		return refuse(http.StatusBadRequest, reason)
	}
	return nil
}

// undescribedFormField says which field of a form the contract does not know, or is given twice: the validator passes both.
func undescribedFormField(c *call, operation *openapi3.Operation) string {
	if operation.RequestBody == nil {
		return ""
	}
	described := operation.RequestBody.Value.Content["application/x-www-form-urlencoded"]
	if described == nil {
		return ""
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return "form cannot be parsed"
	}
	for name, values := range form {
		if described.Schema.Value.Properties[name] == nil {
			return "unknown form field " + name
		}
		if len(values) > 1 {
			return "form field " + name + " is given twice"
		}
	}
	return ""
}
