package m365

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// refusal is what a service means by an answer that is an error.
type refusal int

const (
	refused      refusal = iota // not known: the service's code says more
	refusedRight                // the app, or the account that it acts as, lacks a permission or role
	refusedQuota                // as many as there may be
	refusedPlan                 // the tenant lacks the licence for it
	refusedHost                 // Graph could not reach the notification URL
)

// The codes that say all by themselves. Others, such as Forbidden and UnknownError, have
// many causes.
var refusalCodes = map[string]refusal{
	"authorization_requestdenied":             refusedRight,
	"authentication_msgraphpermissionmissing": refusedRight,
	"s2sunauthorized":                         refusedRight,
	"unauthorized":                            refusedRight,
	"erroraccessdenied":                       refusedRight,
	"directory_quotaexceeded":                 refusedQuota,
	"quotaexceeded":                           refusedQuota,
	"quotalimitreached":                       refusedQuota,
	"authentication_requestfromnonpremiumtenantorb2ctenant": refusedPlan,
	"authentication_requestfromunsupporteduserrole":         refusedRight,
}

// refusalTexts are the known texts, but for Intune's own (see noIntune). They count only
// where the code does not say all. Only here does the meaning of a text decide.
var refusalTexts = []struct {
	means refusal
	text  *regexp.Regexp
}{
	{refusedQuota, regexp.MustCompile(`maximum (number|limit|count) of [a-z ]*subscriptions|` +
		`(limit|quota) of '?[0-9,]*'? ?[a-z ]*subscriptions|` +
		`subscriptions? (limit|quota)|quota (was |has been |is |limit )?(exceeded|reached)|exceeded [a-z ]*quota`)},
	{refusedPlan, regexp.MustCompile(`(tenant )?(doesn't|does not) have (a )?premium license|requires (a |an )?(azure ad|entra id|microsoft entra id) premium`)},
	{refusedHost, regexp.MustCompile(`validation request|notification endpoint`)},
	{refusedRight, regexp.MustCompile(`insufficient privileges|` +
		`(application|user|caller) is not authorized|must have one of the following scopes|` +
		`required scopes are missing in the token|missing scope permissions|` +
		`does not contain valid permissions or user does not have valid roles|` +
		`invalid permission|access is denied\. check credentials|` +
		`the role assigned to .* (is not|isn't) supported in this scenario|` +
		`does not have required .* permissions|insufficient permissions`)},
}

// meaningOf returns what a service means by the error, if it is one of a service.
func meaningOf(err error) refusal {
	e, ok := errors.AsType[*statusError](err)
	if !ok || e.status >= http.StatusInternalServerError {
		return refused
	}
	message := strings.ToLower(e.message)
	for _, known := range refusalTexts {
		if known.text.MatchString(message) {
			return known.means
		}
	}
	return refusalCodes[strings.ToLower(e.code)]
}
