// Package config reads the app settings. It reads all environment variables that the
// handler itself defines, once, and checks them together. Package storage opens the
// storage accounts, and reads the settings that the Functions host defines for them. What
// the settings are for stays out.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the Functions image may lack the zones' files

	"cipp-ninjaone/handler/internal/endpoint"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	defaultRate  = 5
	defaultMost  = 20
	defaultSlots = 4
	maxSlots     = 100
	// defaultSweep is also the interval of the timer, so the shortest possible.
	defaultSweep = 15 * time.Minute
	defaultWatch = 5 * time.Minute
)

// Settings are the handler's settings with defaults filled in. None of them is
// a secret.
type Settings struct {
	// Development: the app runs on development storage (see
	// storage.IsDevelopment). CIPP's secrets are in the table DevSecrets then.
	Development bool
	// KeyVaultURI is CIPP's Key Vault, "" with development storage.
	KeyVaultURI string
	// CIPPTimezone is the tz database name of the zone of CIPP's logbook, ""
	// to find it as CIPP does.
	CIPPTimezone string
	// CIPPResourceGroup is CIPP's resource group, where it is in the app's own
	// subscription; "" when it is not known.
	CIPPResourceGroup string
	// ResourceGroup is the app's own, as the platform says; "" elsewhere.
	ResourceGroup string
	// Application says that the app signs in to tenants by client credentials, and not by
	// CIPP's refresh token and GDAP.
	Application bool
	// PublicBaseURL is where Microsoft Graph reaches this app, without a final slash.
	// When it is "", there can be no notifications.
	PublicBaseURL string

	// Origins of Microsoft's services: addresses without a path.
	GraphEndpoint, LoginEndpoint, ExchangeEndpoint, DefenderEndpoint *url.URL
	// NinjaOneEndpoint overrides the instance that is set up in CIPP, unless it is "". It
	// is without a final slash.
	NinjaOneEndpoint string
	// SKUNamesURL is where Microsoft's file of product names is read; "" for
	// its usual place.
	SKUNamesURL string

	// NinjaOneRate is how many calls per second all processes together make to the
	// NinjaOne instance to begin with. NinjaOneRateMax is the most that they come to by
	// themselves, no less than NinjaOneRate.
	NinjaOneRate, NinjaOneRateMax float64
	// SyncSlots is how many syncs may be under way at once, over all processes.
	SyncSlots int
	// ComplianceSweep is how often the sweep compares each tenant's compliance, in case
	// notifications do not come; 0 for never.
	ComplianceSweep time.Duration
	// Watch is how often the app looks at each tenant for changes; 0 for never.
	Watch time.Duration
	// FunctionTimeout is when the host kills the process because of one
	// invocation; 0 when it never does.
	FunctionTimeout time.Duration
	// SyncTimeBudget is how long one SyncTenant invocation may run.
	SyncTimeBudget time.Duration

	LogLevel slog.Level
	// Port is where the Functions host expects the handler on 127.0.0.1.
	Port int
}

// FromEnvironment reads the settings through getenv, normally os.Getenv. The
// error joins all problems there are; each names its setting and never its
// value. When no setting tells functionTimeout, host.json of the app root is
// read.
func FromEnvironment(getenv func(string) string) (Settings, error) {
	r := reader{getenv: getenv}
	s := Settings{
		Development:  storage.IsDevelopment(getenv),
		CIPPTimezone: r.timezone("CIPP_TIMEZONE"),

		CIPPResourceGroup: strings.TrimSpace(getenv("CIPP_RESOURCE_GROUP")),
		ResourceGroup:     strings.TrimSpace(getenv("WEBSITE_RESOURCE_GROUP")),

		Application:      r.application("GRAPH_AUTH"),
		GraphEndpoint:    r.origin("GRAPH_ENDPOINT", "graph.microsoft.com"),
		LoginEndpoint:    r.origin("LOGIN_ENDPOINT", "login.microsoftonline.com"),
		ExchangeEndpoint: r.origin("EXCHANGE_ENDPOINT", "outlook.office365.com"),
		DefenderEndpoint: r.origin("DEFENDER_ENDPOINT", "api.securitycenter.microsoft.com"),
		NinjaOneEndpoint: r.address("NINJAONE_ENDPOINT", ""),
		SKUNamesURL:      r.address("SKU_NAMES_URL", ""),
		PublicBaseURL:    r.address("PUBLIC_BASE_URL", r.ownURL()),
		NinjaOneRate:     r.rate("NINJAONE_RATE", defaultRate),
		SyncSlots:        r.integer("SYNC_SLOTS", defaultSlots, maxSlots),
		ComplianceSweep:  r.minutes("COMPLIANCE_SWEEP_MINUTES", defaultSweep, defaultSweep, "sweeps"),
		Watch:            r.minutes("WATCH_MINUTES", defaultWatch, time.Minute, "looks"),
		LogLevel:         r.level("LOG_LEVEL"),
		Port:             r.port("FUNCTIONS_CUSTOMHANDLER_PORT"),
	}
	s.NinjaOneRateMax = r.rate("NINJAONE_RATE_MAX", max(defaultMost, s.NinjaOneRate))
	if s.NinjaOneRateMax > 0 && s.NinjaOneRateMax < s.NinjaOneRate {
		r.problem("NINJAONE_RATE_MAX", "must be no smaller than NINJAONE_RATE, which is the pace to begin with")
	}
	for _, prefix := range []string{storage.Own, storage.CIPP} {
		if _, err := storage.Open(getenv, prefix); err != nil {
			r.problems = append(r.problems, err)
		}
	}
	if s.KeyVaultURI = r.address("CIPP_KEY_VAULT_URI", ""); s.KeyVaultURI == "" && r.text("CIPP_KEY_VAULT_URI") == "" && !s.Development {
		r.problem("CIPP_KEY_VAULT_URI", "is missing: set it to the address of CIPP's Key Vault, such as https://contoso.vault.azure.net")
	}
	s.FunctionTimeout = r.functionTimeout()
	s.SyncTimeBudget = r.budget("SYNC_TIME_BUDGET", s.FunctionTimeout)
	if len(r.problems) > 0 {
		return Settings{}, fmt.Errorf("the app settings need attention:\n%w", errors.Join(r.problems...))
	}
	return s, nil
}

// reader reads settings and collects what is wrong with them.
type reader struct {
	getenv   func(string) string
	problems []error
}

func (r *reader) text(name string) string { return strings.TrimSpace(r.getenv(name)) }

// problem notes what is wrong with a setting. Values stay out: somebody may
// have pasted a secret into the wrong one.
func (r *reader) problem(name, what string) {
	r.problems = append(r.problems, fmt.Errorf("setting %s %s", name, what))
}

// parsed reads a setting by parse, which reports whether it is what it must be.
func parsed[T any](r *reader, name string, fallback T, must string, parse func(string) (T, bool)) T {
	value := r.text(name)
	if value == "" {
		return fallback
	}
	v, ok := parse(value)
	if !ok {
		r.problem(name, "must be "+must)
	}
	return v
}

func (r *reader) timezone(name string) string {
	return parsed(r, name, "", "a zone of the tz database, such as Europe/Lisbon or UTC", func(zone string) (string, bool) {
		_, err := time.LoadLocation(zone)
		return zone, err == nil && !strings.EqualFold(zone, "local")
	})
}

func (r *reader) application(name string) bool {
	return parsed(r, name, false, "delegated or application", func(auth string) (application, ok bool) {
		application = strings.EqualFold(auth, "application")
		return application, application || strings.EqualFold(auth, "delegated")
	})
}

// endpoint reads the base address of a service; nil when there is none.
func (r *reader) endpoint(name string) *url.URL {
	value := r.text(name)
	if value == "" {
		return nil
	}
	u, err := endpoint.Parse(value)
	if err != nil {
		r.problem(name, err.Error())
	}
	return u
}

// address is endpoint as text.
func (r *reader) address(name, fallback string) string {
	if u := r.endpoint(name); u != nil {
		return u.String()
	}
	return fallback
}

// origin is endpoint for a service of Microsoft's, which is usually on one host.
func (r *reader) origin(name, usual string) *url.URL {
	u := r.endpoint(name)
	if u == nil {
		return &url.URL{Scheme: "https", Host: usual}
	}
	if u.Path != "" {
		r.problem(name, "must be scheme and host only, such as https://"+usual)
	}
	return u
}

// ownURL is the address that the platform gives the app.
func (r *reader) ownURL() string {
	host := r.text("WEBSITE_HOSTNAME")
	if host == "" {
		return ""
	}
	u, err := url.Parse("https://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" {
		if r.text("PUBLIC_BASE_URL") == "" {
			r.problem("WEBSITE_HOSTNAME", "is not a host name: set PUBLIC_BASE_URL to the address of this app")
		}
		return ""
	}
	if endpoint.Loopback(u.Hostname()) { // the local host has no certificate
		u.Scheme = "http"
	}
	return u.String()
}

func (r *reader) rate(name string, fallback float64) float64 {
	return parsed(r, name, fallback, "a number of calls per second above 0, such as 5 or 0.5", func(value string) (float64, bool) {
		rate, err := strconv.ParseFloat(value, 64)
		return rate, err == nil && rate > 0 && !math.IsInf(rate, 0)
	})
}

// minutes reads a number of minutes: 0, or from least to a day.
func (r *reader) minutes(name string, fallback, least time.Duration, what string) time.Duration {
	must := fmt.Sprintf("a whole number of minutes from %d to 1440, or 0 for no %s", int(least.Minutes()), what)
	return parsed(r, name, fallback, must, func(value string) (time.Duration, bool) {
		n, err := strconv.Atoi(value)
		d := time.Duration(n) * time.Minute
		return d, err == nil && (n == 0 || d >= least && d <= 24*time.Hour)
	})
}

func (r *reader) port(name string) int {
	if r.text(name) == "" {
		r.problem(name, "is missing: the Functions host sets it when it starts the handler, so start the app with the host (func start)")
		return 0
	}
	return r.integer(name, 0, math.MaxUint16)
}

// integer reads a whole number from 1 to most.
func (r *reader) integer(name string, fallback, most int) int {
	return parsed(r, name, fallback, fmt.Sprintf("a whole number from 1 to %d", most), func(value string) (int, bool) {
		n, err := strconv.Atoi(value)
		return n, err == nil && n >= 1 && n <= most
	})
}

func (r *reader) level(name string) slog.Level {
	return parsed(r, name, slog.LevelInfo, "debug, info, warn or error", func(text string) (level slog.Level, ok bool) {
		err := level.UnmarshalText([]byte(text))
		return level, err == nil && !strings.ContainsAny(text, "+-")
	})
}
