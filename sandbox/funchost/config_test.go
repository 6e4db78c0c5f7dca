package funchost

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// knownHost is a host.json text up to its end, with what the stand-in asks for.
const knownHost = `{"version": "2.0", "customHandler": {"enableForwardingHttpRequest": true, "enableProxyingHttpRequest": "True", "description": {"defaultExecutablePath": "run"}}, "extensions": {"queues": {"messageEncoding": "base64"`

func TestHostOptions(t *testing.T) {
	dir := t.TempDir()
	read := func(text string, settings map[string]string) (hostOptions, error) {
		must(t, os.WriteFile(filepath.Join(dir, "host.json"), []byte(text), 0o600))
		return readHostOptions(dir, settings)
	}
	got, err := read(knownHost+`}}}`, nil)
	if err != nil || got.functionTimeout != 30*time.Minute || got.initializationTimeout != 30*time.Second || got.routePrefix != "api" || got.batchSize != 16 ||
		got.maxDequeueCount != 5 || got.visibilityTimeout != 0 || got.maxPollingInterval != time.Minute || got.listenerLock != 15*time.Second {
		t.Errorf("defaults = %+v, %v", got, err)
	}
	got, err = read(knownHost+`, "batchSize": 4, "newBatchThreshold": 2, "maxPollingInterval": "00:00:10"}}, "functionTimeout": "-1"}`,
		map[string]string{"AzureFunctionsJobHost__extensions__queues__batchSize": "7", "other": "x"})
	if err != nil || got.functionTimeout != 0 || got.batchSize != 7 || got.newBatchThreshold != 2 || got.maxPollingInterval != 10*time.Second {
		t.Errorf("options = %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		`{`:                  "JSON",
		`{"version": "1.0"}`: "version",
		`{"version": "2.0"}`: "defaultExecutablePath",
		`{"version": "2.0", "customHandler": {"enableForwardingHttpRequest": true}}`:                      "enableProxyingHttpRequest",
		knownHost + `}}, "functionTimeout": "soon"}`:                                                      "functionTimeout",
		knownHost + `}}, "functionTimeout": "00:00:00"}`:                                                  "functionTimeout",
		knownHost + `, "batchSize": 33}}}`:                                                                "batchSize",
		knownHost + `, "maxPollingInterval": "0:0:0"}}}`:                                                  "maxPollingInterval",
		knownHost + `}}, "singleton": {"listenerLockPeriod": "00:00:05"}}`:                                "listenerLockPeriod",
		strings.Replace(knownHost, "base64", "none", 1) + `}}}`:                                           "messageEncoding",
		strings.Replace(knownHost, `"defaultExec`, `"arguments": ["a"], "defaultExec`, 1) + `}}}`:         "arguments",
		strings.Replace(knownHost, `"defaultExec`, `"workingDirectory": "data", "defaultExec`, 1) + `}}}`: "workingDirectory",
	} {
		if _, err := read(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error = %v, want one with %q", text, err, want)
		}
	}
	if _, err := readHostOptions(t.TempDir(), nil); err == nil {
		t.Error("a missing host.json is no error")
	}
}

func TestFunctionsAreLoaded(t *testing.T) {
	good, timer := httpFunction(""), timerFunction("0 0 0 1 1 *")
	wrong := map[string]string{
		"9digit":      good,
		"host":        good,
		"Broken":      `{`,
		"Nothing":     `{"bindings": []}`,
		"NoTrigger":   `{"bindings": [{"type": "http", "name": "res", "direction": "out"}]}`,
		"NoAnswer":    strings.Replace(timer, "timerTrigger", "httpTrigger", 1),
		"TwoTriggers": strings.Replace(good, `"http", "name": "res", "direction": "out"`, `"httpTrigger", "name": "b", "direction": "in"`, 1),
		"BadBinding":  strings.Replace(good, `"req"`, `"my_req"`, 1),
		"Unknown":     strings.Replace(timer, `timerTrigger`, `blobTrigger`, 1),
		"Output":      strings.Replace(timer, "]", `, {"type": "queue", "direction": "out", "name": "out", "queueName": "work"}]`, 1),
		"BadLevel":    strings.Replace(good, `anonymous`, `function`, 1),
		"BadRoute":    httpFunction(`, "route": "a/{b}"`),
		"RouteGoesOn": httpFunction(`, "route": "a/{*b}/c"`),
		"BadSchedule": timerFunction("every day"),
		"NoMonitor":   strings.Replace(timer, "true", "false", 1),
		"Retry":       strings.Replace(timer, "{", `{"retry": {"strategy": "fixedDelay"}, `, 1),
		"BadQueue":    `{"bindings": [{"type": "queueTrigger", "name": "m", "direction": "in", "queueName": "a--b", "connection": "AzureWebJobsStorage"}]}`,
		"NoStorage":   `{"bindings": [{"type": "queueTrigger", "name": "m", "direction": "in", "queueName": "work", "connection": "MISSING"}]}`,
	}
	functions := map[string]string{"Good": good, "good-2_x": good, "deep/Inner": good, "SwitchedOff": good, "SwitchedOff-3": good, "Stays": good}
	for name, text := range wrong {
		functions[name] = text
	}
	log := &logBuffer{}
	a := newApp(t, "", functions, succeed)
	a.write("notes/readme.txt", "no function")
	a.settings["AzureWebJobs.SwitchedOff.Disabled"] = "true"
	a.settings["AzureWebJobs_SwitchedOff-3_Disabled"] = "1"
	a.settings["AzureWebJobs__Stays__Disabled"] = "true" // no name that the host knows
	config := a.config()
	config.Log = log.logger()
	h, err := prepare(config)
	must(t, err)
	t.Cleanup(func() { _ = h.listener.Close() })
	if got, want := h.Functions(), []string{"Good", "Stays", "good-2_x"}; !slices.Equal(got, want) {
		t.Errorf("functions = %q, want %q\n%s", got, want, log)
	}
	for name := range wrong {
		if !strings.Contains(log.String(), "level=ERROR msg=\"a function is in error and is left out\" function="+name+" ") {
			t.Errorf("no error about %s in the log", name)
		}
	}
}
