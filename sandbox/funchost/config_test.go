package funchost

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHostOptions(t *testing.T) {
	dir := t.TempDir()
	read := func(text string, settings map[string]string) (hostOptions, error) {
		if err := os.WriteFile(filepath.Join(dir, "host.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readHostOptions(dir, settings)
	}
	t.Run("defaults", func(t *testing.T) {
		got, err := read(`{"version": "2.0", "customHandler": {"description": {"defaultExecutablePath": "run"}}}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.functionTimeout != 30*time.Minute || got.initializationTimeout != 30*time.Second || got.routePrefix != "api" || got.batchSize != 16 ||
			got.maxDequeueCount != 5 || got.visibilityTimeout != 0 || got.maxPollingInterval != time.Minute || !got.base64Messages || got.listenerLock != 15*time.Second {
			t.Errorf("options = %+v", got)
		}
	})
	t.Run("values and settings that replace them", func(t *testing.T) {
		got, err := read(`{"version": "2.0", "functionTimeout": "-1", "customHandler": {"enableForwardingHttpRequest": true, "enableProxyingHttpRequest": true, "port": 8123,
			"description": {"defaultExecutablePath": "run", "arguments": ["a", "b"]}},
			"extensions": {"http": {"routePrefix": ""}, "queues": {"batchSize": 4, "newBatchThreshold": 2, "maxPollingInterval": "00:00:10", "messageEncoding": "none"}}}`,
			map[string]string{"AzureFunctionsJobHost__extensions__queues__batchSize": "7", "AzureFunctionsJobHost__customHandler__enableForwardingHttpRequest": "False", "other": "x"})
		if err != nil {
			t.Fatal(err)
		}
		if got.functionTimeout != 0 || got.forwardHTTP || !got.proxyHTTP || got.port != 8123 || !slices.Equal(got.arguments, []string{"a", "b"}) || got.routePrefix != "" ||
			got.batchSize != 7 || got.newBatchThreshold != 2 || got.maxPollingInterval != 10*time.Second || got.base64Messages {
			t.Errorf("options = %+v", got)
		}
	})
	t.Run("errors name the value", func(t *testing.T) {
		for text, want := range map[string]string{
			`{`:                  "JSON",
			`{"version": "1.0"}`: "version",
			`{"version": "2.0"}`: "defaultExecutablePath",
			`{"version": "2.0", "functionTimeout": "soon"}`:                                 "functionTimeout",
			`{"version": "2.0", "functionTimeout": "00:00:00"}`:                             "functionTimeout",
			`{"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}`:               "batchSize",
			`{"version": "2.0", "extensions": {"queues": {"maxPollingInterval": "0:0:0"}}}`: "maxPollingInterval",
			`{"version": "2.0", "extensions": {"queues": {"messageEncoding": "utf8"}}}`:     "messageEncoding",
			`{"version": "2.0", "customHandler": {"enableForwardingHttpRequest": "maybe"}}`: "enableForwardingHttpRequest",
			`{"version": "2.0", "singleton": {"listenerLockPeriod": "00:00:05"}}`:           "listenerLockPeriod",
		} {
			if _, err := read(text, nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error = %v, want one with %q", text, err, want)
			}
		}
		if _, err := readHostOptions(t.TempDir(), nil); err == nil {
			t.Error("a missing host.json is no error")
		}
	})
}

func TestFunctionsAreLoaded(t *testing.T) {
	const good = `{"bindings": [{"type": "httpTrigger", "name": "req", "direction": "in"}, {"type": "http", "name": "res", "direction": "out"}]}`
	log := &logBuffer{}
	a := newApp(t, "", map[string]string{
		"Good":          good,
		"good-2_x":      good,
		"deep/Inner":    good,
		"9digit":        good,
		"host":          good,
		"Broken":        `{`,
		"Nothing":       `{"bindings": []}`,
		"NoTrigger":     `{"bindings": [{"type": "http", "name": "res", "direction": "out"}]}`,
		"TwoTriggers":   strings.Replace(good, `"http", "name": "res", "direction": "out"`, `"httpTrigger", "name": "b", "direction": "in"`, 1),
		"BadBinding":    strings.Replace(good, `"req"`, `"my_req"`, 1),
		"SameName":      strings.Replace(good, `"req"`, `"res"`, 1),
		"ReturnIn":      strings.Replace(good, `"req"`, `"$return"`, 1),
		"Unknown":       strings.Replace(good, `httpTrigger`, `blobTrigger`, 1),
		"BadLevel":      strings.Replace(good, `"name": "req"`, `"name": "req", "authLevel": "user"`, 1),
		"BadRoute":      strings.Replace(good, `"name": "req"`, `"name": "req", "route": "a/{b"`, 1),
		"BadSchedule":   timerFunction(`"schedule": "every day"`),
		"NoSetting":     timerFunction(`"schedule": "%MISSING%"`),
		"BadRetry":      strings.Replace(timerFunction(`"schedule": "0 0 0 1 1 *"`), "{", `{"retry": {"strategy": "fixedDelay"}, `, 1),
		"BadQueue":      `{"bindings": [{"type": "queueTrigger", "name": "m", "direction": "in", "queueName": "a--b"}]}`,
		"NoConnection":  `{"bindings": [{"type": "queueTrigger", "name": "m", "direction": "in", "queueName": "work", "connection": "MISSING"}]}`,
		"SwitchedOff":   good,
		"SwitchedOff2":  strings.Replace(good, "{", `{"disabled": true, `, 1),
		"SwitchedOff-3": good,
		"Stays":         good,
	}, succeed)
	a.write("notes/readme.txt", "no function")
	a.settings["AzureWebJobs.SwitchedOff.Disabled"] = "true"
	a.settings["AzureWebJobs_SwitchedOff-3_Disabled"] = "1"
	a.settings["AzureWebJobs__Stays__Disabled"] = "true" // no name that the host knows
	config := a.config()
	config.Log = log.logger()
	h, err := prepare(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.listener.Close() })
	if got, want := h.Functions(), []string{"Good", "Stays", "good-2_x"}; !slices.Equal(got, want) {
		t.Errorf("functions = %q, want %q\n%s", got, want, log)
	}
	text := log.String()
	for _, name := range []string{"9digit", "host", "Broken", "Nothing", "NoTrigger", "TwoTriggers", "BadBinding", "SameName", "ReturnIn", "Unknown", "BadLevel", "BadRoute",
		"BadSchedule", "NoSetting", "BadRetry", "BadQueue", "NoConnection"} {
		if !strings.Contains(text, "level=ERROR msg=\"a function is in error and is left out\" function="+name+" ") {
			t.Errorf("no error about %s in the log", name)
		}
	}
}

func TestConnections(t *testing.T) {
	settings := map[string]string{"AzureWebJobsStorage": "UseDevelopmentStorage=true;", "OTHER": "AccountName=x", "AzureWebJobsPrefixed": "AccountName=y", "EMPTY": ""}
	for name, want := range map[string]string{"": developmentStorage, "AzureWebJobsStorage": developmentStorage, "OTHER": "AccountName=x", "Prefixed": "AccountName=y"} {
		if got, err := connection(name, settings); err != nil || got != want {
			t.Errorf("connection(%q) = %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"EMPTY", "UNKNOWN"} {
		if _, err := connection(name, settings); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("connection(%q): error = %v", name, err)
		}
	}
}

func TestLoadSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.settings.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"IsEncrypted": false, "Values": {"A": "1"}, "Host": {"CORS": "*"}}`)
	if got, err := LoadSettings(path); err != nil || len(got) != 1 || got["A"] != "1" {
		t.Errorf("settings = %v, %v", got, err)
	}
	for name, text := range map[string]string{"nested": `{"Values": {"A": {}}}`, "encrypted": `{"IsEncrypted": true, "Values": {}}`, "not JSON": `x`} {
		write(text)
		if _, err := LoadSettings(path); err == nil {
			t.Errorf("%s settings were read", name)
		}
	}
	if _, err := LoadSettings(path + ".missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestRoutes(t *testing.T) {
	for _, tt := range []struct {
		name, route, path string
		want              string // name=value pairs, or "no".
	}{
		{"literal", "api/list", "/api/List", ""},
		{"literal too long", "api/list", "/api/list/1", "no"},
		{"parameter", "api/orders/{id}", "/api/orders/7", "id=7"},
		{"parameter missing", "api/orders/{id}", "/api/orders", "no"},
		{"optional given", "api/orders/{id?}", "/api/orders/7", "id=7"},
		{"optional missing", "api/orders/{id?}", "/api/orders", ""},
		{"constraint", "api/orders/{id:int}", "/api/orders/x", "no"},
		{"constraint and optional", "api/orders/{id:int?}", "/api/orders/-7", "id=-7"},
		{"guid", "a/{id:guid}", "/a/0f8fad5b-d9cb-469f-a165-70867728950e", "id=0f8fad5b-d9cb-469f-a165-70867728950e"},
		{"catch-all", "api/console/{*path}", "/api/console/a/b%2Fc", "path=a/b%2Fc"},
		{"catch-all of nothing", "api/console/{*path}", "/api/console", ""},
		{"catch-all elsewhere", "api/console/{*path}", "/api/other", "no"},
		{"no prefix", "/list", "/list", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := parseRoute(tt.route)
			if err != nil {
				t.Fatal(err)
			}
			params, ok := r.match(tt.path)
			var pairs []string
			for name, v := range params {
				pairs = append(pairs, name+"="+v)
			}
			got := strings.Join(pairs, " ")
			if !ok {
				got = "no"
			}
			if got != tt.want {
				t.Errorf("match = %q, want %q", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"a/{b", "a/b}", "a/{b}c", "a//b", "{*all}/x", "{a:regex(x)}", "{a_b}", "{}"} {
		if _, err := parseRoute(bad); err == nil {
			t.Errorf("the route %q was read", bad)
		}
	}
}
