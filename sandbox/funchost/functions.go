package funchost

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	functionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,127}$`)
	bindingName  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]{0,127}|\$return)$`)
	queueName    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// binding is one entry of function.json, with what the supported types need.
type binding struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Direction string `json:"direction"`
	DataType  string `json:"dataType"`

	AuthLevel string   `json:"authLevel"`
	Methods   []string `json:"methods"`
	Route     string   `json:"route"`

	Schedule     string `json:"schedule"`
	RunOnStartup bool   `json:"runOnStartup"`
	UseMonitor   *bool  `json:"useMonitor"`

	QueueName  string `json:"queueName"`
	Connection string `json:"connection"`
}

// kind is the binding's type in lower case; the host ignores case there.
func (b *binding) kind() string { return strings.ToLower(b.Type) }

// function is one loaded function.
type function struct {
	name     string
	trigger  *binding
	outputs  []*binding
	retry    *retryPolicy
	schedule schedule          // Of a timer.
	route    *route            // Of an HTTP function.
	storage  string            // Connection string of a queue trigger.
	sinks    map[string]string // Connection strings of queue outputs, by binding name.
	raw      bool              // One HTTP trigger in, one HTTP answer out.
}

// retryPolicy is the retry object of function.json. Only timers use it here.
type retryPolicy struct {
	Strategy        string `json:"strategy"`
	MaxRetryCount   *int   `json:"maxRetryCount"`
	DelayInterval   string `json:"delayInterval"`
	MinimumInterval string `json:"minimumInterval"`
	MaximumInterval string `json:"maximumInterval"`

	delay, low, high time.Duration
}

// loadFunctions reads each first-level folder with a function.json. A function
// that is wrong is logged and skipped; the others still load.
func loadFunctions(appRoot string, options hostOptions, settings map[string]string, log *slog.Logger) ([]*function, error) {
	entries, err := os.ReadDir(appRoot)
	if err != nil {
		return nil, fmt.Errorf("reading the app root: %w", err)
	}
	var functions []*function
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(appRoot, entry.Name(), "function.json"))
		if err != nil {
			continue // Not a function's folder.
		}
		name := entry.Name()
		f, err := parseFunction(name, text, options, settings)
		switch {
		case err != nil:
			log.Error("a function is in error and is left out", "function", name, "error", err)
		case f == nil:
			log.Info("a function is disabled", "function", name)
		default:
			functions = append(functions, f)
		}
	}
	return functions, nil
}

// parseFunction reads one function.json; it returns nil for a function that is
// switched off.
func parseFunction(name string, text []byte, options hostOptions, settings map[string]string) (*function, error) {
	if !functionName.MatchString(name) || strings.EqualFold(name, "host") {
		return nil, fmt.Errorf("%q is not a valid function name: a letter, then letters, digits, _ and -, at most 128, and not \"host\"", name)
	}
	var file struct {
		Disabled bool         `json:"disabled"`
		Bindings []*binding   `json:"bindings"`
		Retry    *retryPolicy `json:"retry"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("function.json cannot be read: %w", err)
	}
	if file.Disabled || disabled(name, settings) {
		return nil, nil
	}
	if len(file.Bindings) == 0 {
		return nil, errors.New("function.json has no bindings; at least one is needed")
	}
	f := &function{name: name, retry: file.Retry, sinks: map[string]string{}}
	for _, b := range file.Bindings {
		if err := f.addBinding(b, settings); err != nil {
			return nil, err
		}
	}
	if f.trigger == nil {
		return nil, errors.New("function.json has no trigger")
	}
	if err := f.resolve(options, settings); err != nil {
		return nil, err
	}
	if f.retry != nil {
		if err := f.retry.validate(); err != nil {
			return nil, fmt.Errorf("the retry policy: %w", err)
		}
	}
	return f, nil
}

func (f *function) addBinding(b *binding, settings map[string]string) error {
	if !bindingName.MatchString(b.Name) {
		return fmt.Errorf("the binding name %q is not valid: a letter, then letters and digits, at most 128, or $return", b.Name)
	}
	out := strings.EqualFold(b.Direction, "out")
	if b.Name == "$return" && !out {
		return errors.New("the binding $return must have the direction out")
	}
	if slices.ContainsFunc(f.outputs, func(o *binding) bool { return o.Name == b.Name }) || f.trigger != nil && f.trigger.Name == b.Name {
		return fmt.Errorf("the binding name %q is used twice", b.Name)
	}
	switch kind := b.kind(); {
	case !out && (kind == "httptrigger" || kind == "timertrigger" || kind == "queuetrigger"):
		if f.trigger != nil {
			return errors.New("function.json has more than one trigger")
		}
		f.trigger = b
	case out && kind == "queue":
		name, err := resolveQueue(b, settings)
		if err != nil {
			return err
		}
		b.QueueName = name
		if f.sinks[b.Name], err = connection(b.Connection, settings); err != nil {
			return fmt.Errorf("the output %q: %w", b.Name, err)
		}
		f.outputs = append(f.outputs, b)
	case out && kind == "http":
		f.outputs = append(f.outputs, b)
	default:
		return fmt.Errorf("the binding %q of type %q and direction %q is not one the stand-in knows", b.Name, b.Type, b.Direction)
	}
	return nil
}

func resolveQueue(b *binding, settings map[string]string) (string, error) {
	name, err := resolveNames(b.QueueName, settings)
	if err != nil {
		return "", fmt.Errorf("the queue name of %q: %w", b.Name, err)
	}
	if name = strings.ToLower(name); len(name) < 3 || len(name) > 63 || !queueName.MatchString(name) {
		return "", fmt.Errorf("%q is not a valid queue name: 3 to 63 letters, digits and single hyphens", name)
	}
	return name, nil
}

// resolve reads what is special to the trigger's type.
func (f *function) resolve(options hostOptions, settings map[string]string) error {
	var err error
	switch f.trigger.kind() {
	case "httptrigger":
		f.raw = len(f.outputs) == 1 && f.outputs[0].kind() == "http"
		switch strings.ToLower(f.trigger.AuthLevel) {
		case "", "anonymous", "function", "admin":
		default:
			return fmt.Errorf("authLevel is %q; it must be anonymous, function or admin", f.trigger.AuthLevel)
		}
		pattern := f.trigger.Route
		if pattern == "" {
			pattern = f.name
		}
		if strings.HasPrefix(strings.ToLower(pattern), "admin/") && options.routePrefix == "" {
			return fmt.Errorf("the route %q is reserved", pattern)
		}
		f.route, err = parseRoute(options.routePrefix + "/" + strings.Trim(pattern, "/"))
	case "timertrigger":
		var text string
		if text, err = resolveNames(f.trigger.Schedule, settings); err == nil {
			f.schedule, err = parseSchedule(text)
		}
	case "queuetrigger":
		if f.retry != nil {
			return errors.New("a queue trigger takes no retry policy; queues retry by host.json")
		}
		if f.trigger.QueueName, err = resolveQueue(f.trigger, settings); err == nil {
			f.storage, err = connection(f.trigger.Connection, settings)
		}
	}
	return err
}

func (r *retryPolicy) validate() error {
	if r.MaxRetryCount == nil {
		return errors.New("maxRetryCount is missing")
	}
	var errs [3]error
	switch strings.ToLower(r.Strategy) {
	case "fixeddelay":
		r.delay, errs[0] = parseTimeSpan(r.DelayInterval)
	case "exponentialbackoff":
		r.low, errs[1] = parseTimeSpan(r.MinimumInterval)
		r.high, errs[2] = parseTimeSpan(r.MaximumInterval)
	default:
		return fmt.Errorf("strategy is %q; it must be fixedDelay or exponentialBackoff", r.Strategy)
	}
	return errors.Join(errs[:]...)
}

// wait returns how long to wait before the retry of the given number, from 1.
func (r *retryPolicy) wait(number int) time.Duration {
	if r.high == 0 {
		return r.delay
	}
	return min(r.high, r.low<<min(number-1, 20))
}
