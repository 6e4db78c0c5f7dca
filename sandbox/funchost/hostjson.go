package funchost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hostOptions is what the stand-in uses of host.json, with the host's defaults.
type hostOptions struct {
	functionTimeout time.Duration // Zero means no limit.

	executable            string
	initializationTimeout time.Duration

	routePrefix string

	batchSize          int
	newBatchThreshold  int
	maxDequeueCount    int64
	visibilityTimeout  time.Duration
	maxPollingInterval time.Duration

	listenerLock time.Duration
}

// overridePrefix starts the names of settings that replace a value of host.json,
// as in AzureFunctionsJobHost__extensions__queues__batchSize.
const overridePrefix = "azurefunctionsjobhost"

const (
	defaultFunctionTimeout = 30 * time.Minute // The default of the Flex Consumption plan.
	minPollingInterval     = 100 * time.Millisecond
)

// readHostOptions reads host.json from the app root and applies the settings
// that override it.
func readHostOptions(appRoot string, settings map[string]string) (hostOptions, error) {
	text, err := os.ReadFile(filepath.Join(appRoot, "host.json"))
	if err != nil {
		return hostOptions{}, fmt.Errorf("reading host.json of the app root: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return hostOptions{}, fmt.Errorf("host.json is not a JSON object: %w", err)
	}
	values := flatValues{values: map[string]string{}}
	values.add("", tree)
	for name, value := range settings {
		key := strings.ToLower(strings.ReplaceAll(name, "__", ":"))
		if rest, ok := strings.CutPrefix(key, overridePrefix+":"); ok {
			values.values[rest] = value
		}
	}
	o, err := values.options()
	if err != nil {
		return hostOptions{}, fmt.Errorf("host.json: %w", err)
	}
	return o, nil
}

// flatValues is host.json as the host's configuration sees it. It has one text value per
// path, whose names are lower-case and joined by colons.
type flatValues struct {
	values map[string]string
	errs   []error
}

func (f *flatValues) add(path string, v any) {
	join := func(name string) string {
		if path == "" {
			return strings.ToLower(name)
		}
		return path + ":" + strings.ToLower(name)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			f.add(join(name), child)
		}
	case []any:
		for i, child := range v {
			f.add(join(strconv.Itoa(i)), child)
		}
	case string:
		f.values[path] = v
	case nil:
	default:
		text, _ := json.Marshal(v) // Numbers and booleans always marshal.
		f.values[path] = string(text)
	}
}

func (f *flatValues) options() (hostOptions, error) {
	if v := f.text("version", ""); v != "2.0" {
		return hostOptions{}, fmt.Errorf("version is %q; it must be \"2.0\"", v)
	}
	o := hostOptions{
		executable:            f.text("customHandler:description:defaultExecutablePath", ""),
		initializationTimeout: f.span("customHandler:initializationTimeout", 30*time.Second),
		routePrefix:           strings.Trim(f.text("extensions:http:routePrefix", "api"), "/"),
		batchSize:             f.integer("extensions:queues:batchSize", 16, 1, 32),
		maxDequeueCount:       int64(f.integer("extensions:queues:maxDequeueCount", 5, 1, 1<<31-1)),
		visibilityTimeout:     f.span("extensions:queues:visibilityTimeout", 0),
		maxPollingInterval:    f.span("extensions:queues:maxPollingInterval", time.Minute),
		listenerLock:          f.span("singleton:listenerLockPeriod", 15*time.Second),
	}
	o.newBatchThreshold = f.integer("extensions:queues:newBatchThreshold", o.batchSize/2*runtime.NumCPU(), 0, 1<<31-1)
	if f.text("functionTimeout", "") != "-1" {
		o.functionTimeout = f.span("functionTimeout", defaultFunctionTimeout)
		if o.functionTimeout < time.Second {
			f.fail("functionTimeout", "must be at least one second, or -1 for none")
		}
	}
	for path, value := range map[string]string{
		"customHandler:enableForwardingHttpRequest": "true", "customHandler:enableProxyingHttpRequest": "true",
		"customHandler:description:workingDirectory": "", "customHandler:description:arguments:0": "",
		"extensions:queues:messageEncoding": "base64",
	} {
		if got := f.text(path, ""); !strings.EqualFold(got, value) {
			f.fail(path, fmt.Sprintf("is %q; the stand-in knows %q only", got, value))
		}
	}
	if o.maxPollingInterval < minPollingInterval {
		f.fail("extensions:queues:maxPollingInterval", "must be at least 100 milliseconds")
	}
	if o.listenerLock < 15*time.Second || o.listenerLock > time.Minute {
		f.fail("singleton:listenerLockPeriod", "must be from 15 to 60 seconds")
	}
	if o.executable == "" {
		f.fail("customHandler:description:defaultExecutablePath", "is missing; the stand-in runs custom handlers only")
	}
	slices.SortFunc(f.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return o, errors.Join(f.errs...)
}

func (f *flatValues) fail(path, problem string) {
	f.errs = append(f.errs, fmt.Errorf("%s %s", strings.ReplaceAll(path, ":", "."), problem))
}

func (f *flatValues) text(path, fallback string) string {
	if v, ok := f.values[strings.ToLower(path)]; ok {
		return v
	}
	return fallback
}

func (f *flatValues) integer(path string, fallback, low, high int) int {
	text := f.text(path, "")
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		f.fail(path, fmt.Sprintf("is %q; it must be a whole number from %d to %d", text, low, high))
	}
	return n
}

func (f *flatValues) span(path string, fallback time.Duration) time.Duration {
	text := f.text(path, "")
	if text == "" {
		return fallback
	}
	d, err := parseTimeSpan(text)
	if err != nil {
		f.fail(path, "is wrong: "+err.Error())
	}
	return d
}
