package ninjaone

import "errors"

// Explain says, for whoever set the client up, which setting an error of a call is about,
// and what to do. Both are "" for an error that says nothing of the settings.
func (c *Client) Explain(err error) (what, action string) {
	for _, e := range []struct {
		err          error
		what, action string
	}{
		{ErrThrottled, "NinjaOne asks for fewer calls at the moment",
			"try again in some minutes. Lower NINJAONE_RATE_MAX if other integrations of yours need more of the instance's calls"},
		{ErrWrongInstance, "NinjaOne does not know the client ID on the instance " + c.host,
			"check both. The instance is the host in the address bar of your NinjaOne console. An API application lives on one alone"},
		{ErrInvalidScope, "the NinjaOne API application lacks a scope",
			"tick Monitoring and Management on it in NinjaOne (Administration, Apps, API)"},
		{ErrUnauthorized, "NinjaOne does not accept the client secret",
			"enter the secret of this client ID again, or make a new one in NinjaOne (Administration, Apps, API)"},
		{ErrForbidden, "the NinjaOne API application may not read organizations or custom fields",
			"tick the scopes Monitoring and Management on it, and check that its platform is API Services"},
		{ErrNotJSON, "what answers at the instance " + c.host + " is not NinjaOne's API",
			"check the instance, and any proxy between"},
	} {
		if errors.Is(err, e.err) {
			return e.what, e.action
		}
	}
	return "", ""
}
