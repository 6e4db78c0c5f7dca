package check

import (
	"errors"
	"net/url"
	"strings"

	"cipp-ninjaone/handler/internal/access"
	"cipp-ninjaone/handler/internal/config"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// settings looks at what is missing, malformed or contradictory among the app settings.
// It never tells values: somebody may have pasted a secret into any.
func (p *part) settings() {
	p.Checked = "every setting of the README's table"
	s, err := config.FromEnvironment(p.d.Getenv)
	for _, problem := range split(err) {
		p.problem(words.Sentence(problem.Error()), "The app does not start with it.", "Correct the setting, and restart the app.")
	}
	get := func(name string) string { return strings.TrimSpace(p.d.Getenv(name)) }
	for _, prefix := range []string{storage.Own, storage.CIPP} {
		if get(prefix) != "" && identityBased(get, prefix) {
			p.problem("Both "+prefix+" and settings beginning "+prefix+"__ are set.", "The connection string is not used; the app's identity is.",
				"Remove the one that is not meant.")
		}
	}
	if get("CIPP_KEY_VAULT_URI") != "" && storage.IsDevelopment(p.d.Getenv) {
		p.problem("CIPP_KEY_VAULT_URI is set, and so is development storage.", "The secrets are read from the table DevSecrets, not from the Key Vault.",
			"In Azure, remove NonLocalHostAzurite and development storage; on a developer's machine, remove CIPP_KEY_VAULT_URI.")
	}
	if !storage.IsDevelopment(p.d.Getenv) {
		p.neighbours(s)
	}
	if get("WEBSITE_INSTANCE_ID") != "" {
		p.platform(get)
	}
	if err != nil {
		return
	}
	graph := cloudOf(s.GraphEndpoint)
	for _, other := range []struct {
		name    string
		address *url.URL
		meaning string
	}{
		{"LOGIN_ENDPOINT", s.LoginEndpoint, "No tenant gives a token."},
		{"EXCHANGE_ENDPOINT", s.ExchangeEndpoint, "Mailbox settings and the audit log's state are not read."},
		{"DEFENDER_ENDPOINT", s.DefenderEndpoint, "Vulnerabilities are not read, unless CIPP's cache of them serves."},
	} {
		if cloud := cloudOf(other.address); graph != "" && cloud != "" && graph != cloud {
			p.problem("GRAPH_ENDPOINT is of "+graph+", and "+other.name+" of "+cloud+".", other.meaning, "Set all endpoints for the same cloud.")
		}
	}
	if s.PublicBaseURL == "" && s.ComplianceSweep == 0 {
		p.problem("PUBLIC_BASE_URL is not known, and COMPLIANCE_SWEEP_MINUTES is 0.", "The compliance field changes with the daily sync only.",
			"Set PUBLIC_BASE_URL to the app's address, or turn the sweep on.")
	}
}

// neighbours looks at what the app shares with CIPP that it should not.
func (p *part) neighbours(s config.Settings) {
	const guide = "Deploy the app anew as the guide says, into a resource group of its own, with a new storage account. Give the syncs back before, and remove this one after."
	if own := storage.AccountName(p.d.Getenv, storage.Own); own != "" && own == storage.AccountName(p.d.Getenv, storage.CIPP) {
		p.notice("The app's own storage account is CIPP's.", "CIPP's script for moving to its container deletes the file shares of that account, "+
			"and the app's queues, tables and blobs lie among CIPP's.", guide)
	}
	if s.ResourceGroup != "" && strings.EqualFold(s.ResourceGroup, s.CIPPResourceGroup) {
		p.notice("The app is in CIPP's resource group.", "CIPP's script for moving to its container deletes every other app in that group, with its plan and Application Insights.", guide)
	}
}

// platform looks at what the platform was told about the app.
func (p *part) platform(get func(string) string) {
	if runtime := get("FUNCTIONS_WORKER_RUNTIME"); runtime != "" && !strings.EqualFold(runtime, "custom") {
		p.problem("FUNCTIONS_WORKER_RUNTIME is not custom.", "The host does not start the handler.", "Set it to custom.")
	}
	if !access.FromEnvironment(p.d.Getenv).PlatformAuth {
		p.notice("App Service authentication is off.", "The console and the routes for CIPP's pages are closed to everyone. Syncs and notifications do not need it.",
			"To use the console, turn App Service authentication on, and leave /api/ninjaone/notifications out of it.")
	}
}

// split returns the errors that one joins, or the one.
func split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		joined, ok = errors.Unwrap(err).(interface{ Unwrap() []error })
	}
	if !ok {
		return []error{err}
	}
	return joined.Unwrap()
}

func identityBased(get func(string) string, prefix string) bool {
	for _, name := range []string{"accountName", "tableServiceUri", "queueServiceUri", "blobServiceUri"} {
		if get(prefix+"__"+name) != "" {
			return true
		}
	}
	return false
}

// cloudOf names the cloud of one of Microsoft's endpoints; "" when it is none
// that is known.
func cloudOf(endpoint *url.URL) string {
	switch host := endpoint.Hostname(); {
	case host == "graph.microsoft.com", host == "login.microsoftonline.com", host == "outlook.office365.com",
		host == "api.securitycenter.microsoft.com", host == "api-gcc.securitycenter.microsoft.us": // GCC's directory is public
		return "the public cloud"
	case strings.HasSuffix(host, ".us"):
		return "the US Government's cloud"
	case strings.HasSuffix(host, ".cn"):
		return "China's cloud"
	}
	return ""
}
