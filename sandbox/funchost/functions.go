package funchost

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	functionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,127}$`)
	bindingName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,127}$`)
	queueName    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// The types of triggers.
const (
	httpTrigger  = "httpTrigger"
	timerTrigger = "timerTrigger"
	queueTrigger = "queueTrigger"
)

// binding is one entry of function.json. A property that is not here is refused:
// the stand-in would not do what it asks for.
type binding struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Direction string `json:"direction"`

	AuthLevel string   `json:"authLevel"`
	Methods   []string `json:"methods"`
	Route     string   `json:"route"`

	Schedule   string `json:"schedule"`
	UseMonitor *bool  `json:"useMonitor"`

	QueueName  string `json:"queueName"`
	Connection string `json:"connection"`
}

// function is one loaded function.
type function struct {
	name     string
	trigger  *binding
	schedule *cron  // Of a timer.
	route    *route // Of an HTTP function.
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
		if disabled(name, settings) {
			log.Info("a function is disabled", "function", name)
			continue
		}
		f, err := parseFunction(name, text, options, settings)
		if err != nil {
			log.Error("a function is in error and is left out", "function", name, "error", err)
			continue
		}
		functions = append(functions, f)
	}
	return functions, nil
}

// parseFunction reads one function.json: a trigger, and for HTTP one answer.
func parseFunction(name string, text []byte, options hostOptions, settings map[string]string) (*function, error) {
	if !functionName.MatchString(name) || strings.EqualFold(name, "host") {
		return nil, fmt.Errorf("%q is not a valid function name: a letter, then letters, digits, _ and -, at most 128, and not \"host\"", name)
	}
	var file struct {
		Bindings []*binding `json:"bindings"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("function.json cannot be read: %w", err)
	}
	f := &function{name: name}
	answers := 0
	for _, b := range file.Bindings {
		switch {
		case !bindingName.MatchString(b.Name):
			return nil, fmt.Errorf("the binding name %q is not valid: a letter, then letters and digits, at most 128", b.Name)
		case b.Direction == "in" && f.trigger == nil:
			f.trigger = b
		case b.Direction == "out" && b.Type == "http":
			answers++
		default:
			return nil, fmt.Errorf("the binding %q of type %q and direction %q is not one the stand-in knows, or a second trigger", b.Name, b.Type, b.Direction)
		}
	}
	if f.trigger == nil || (f.trigger.Type == httpTrigger) != (answers == 1) || answers > 1 {
		return nil, errors.New("function.json needs one trigger, and one HTTP answer beside an HTTP trigger")
	}
	return f, f.resolve(options, settings)
}

// resolve reads what is special to the trigger's type.
func (f *function) resolve(options hostOptions, settings map[string]string) error {
	var err error
	switch b := f.trigger; b.Type {
	case httpTrigger:
		if b.AuthLevel != "anonymous" {
			return fmt.Errorf("authLevel is %q; the stand-in has no keys and knows anonymous only", b.AuthLevel)
		}
		pattern := b.Route
		if pattern == "" {
			pattern = f.name
		}
		f.route, err = parseRoute(options.routePrefix + "/" + strings.Trim(pattern, "/"))
	case timerTrigger:
		var schedule cron
		schedule, err = parseCron(b.Schedule)
		f.schedule = &schedule
		if b.UseMonitor == nil || !*b.UseMonitor {
			return errors.New("the stand-in knows timers with useMonitor only")
		}
	case queueTrigger:
		if b.QueueName = strings.ToLower(b.QueueName); len(b.QueueName) < 3 || len(b.QueueName) > 63 || !queueName.MatchString(b.QueueName) {
			return fmt.Errorf("%q is not a valid queue name: 3 to 63 letters, digits and single hyphens", b.QueueName)
		}
		if b.Connection != storageSetting || settings[storageSetting] == "" {
			return fmt.Errorf("the connection is %q; the stand-in knows %s only, which must hold a storage connection string", b.Connection, storageSetting)
		}
	default:
		err = fmt.Errorf("the trigger type %q is not one the stand-in knows", b.Type)
	}
	return err
}
