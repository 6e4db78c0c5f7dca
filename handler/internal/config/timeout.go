package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The setting that overrides functionTimeout of host.json.
const functionTimeoutSetting = "AzureFunctionsJobHost__functionTimeout"

// The host's own when host.json says nothing: 5 minutes on the Consumption plan
// (WEBSITE_SKU Dynamic), 30 on others. Unknown counts as the stricter.
const (
	consumptionTimeout = 5 * time.Minute
	otherTimeout       = 30 * time.Minute
)

// functionTimeout returns when the host kills the process because of one
// invocation, 0 for never.
func (r *reader) functionTimeout() time.Duration {
	if value := r.text(functionTimeoutSetting); value != "" {
		d, ok := parseTimeout(value)
		if !ok {
			r.problem(functionTimeoutSetting, `must be a time such as 00:30:00, or -1 for none`)
		}
		return d
	}
	value, err := r.hostJSON()
	if err != nil {
		r.problems = append(r.problems, err)
		return 0
	}
	if value != "" {
		d, ok := parseTimeout(value)
		if !ok {
			r.problems = append(r.problems, errors.New(`host.json: functionTimeout must be a time such as "00:30:00", or "-1" for none`))
		}
		return d
	}
	if sku := r.text("WEBSITE_SKU"); sku != "" && !strings.EqualFold(sku, "Dynamic") {
		return otherTimeout
	}
	return consumptionTimeout
}

// hostJSON returns functionTimeout of host.json in the app root, "" when the
// file or the value is missing.
func (r *reader) hostJSON() (string, error) {
	root := r.text("FUNCTIONS_APP_ROOT_PATH")
	if root == "" {
		executable, err := os.Executable()
		if err != nil {
			return "", nil
		}
		root = filepath.Dir(executable)
	}
	data, err := os.ReadFile(filepath.Join(root, "host.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read functionTimeout of host.json: %w", err)
	}
	var host struct {
		FunctionTimeout any `json:"functionTimeout"`
	}
	if err := json.Unmarshal(data, &host); err != nil {
		return "", fmt.Errorf("read functionTimeout of host.json: %w", err)
	}
	if host.FunctionTimeout == nil {
		return "", nil
	}
	return fmt.Sprint(host.FunctionTimeout), nil
}

// budget reads how long a sync may run. By default the sync can still record what it did
// before the function's time is over.
func (r *reader) budget(name string, functionTimeout time.Duration) time.Duration {
	value := r.text(name)
	if value == "" {
		return defaultBudget(functionTimeout)
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		d, _ = parseSpan(value)
	}
	switch {
	case d <= 0:
		r.problem(name, "must be a time above zero, such as 25m or 00:25:00")
	case functionTimeout > 0 && d >= functionTimeout:
		r.problem(name, "must be shorter than functionTimeout of host.json, else the host kills everything under way")
	}
	return d
}

// defaultBudget leaves a tenth of the function's time, between 2 and 3 minutes, but never
// more than half.
func defaultBudget(functionTimeout time.Duration) time.Duration {
	if functionTimeout <= 0 {
		functionTimeout = otherTimeout
	}
	margin := min(max(functionTimeout/10, 2*time.Minute), 3*time.Minute)
	return functionTimeout - min(margin, functionTimeout/2)
}

// parseTimeout parses a functionTimeout, 0 for "-1", which means none.
func parseTimeout(s string) (time.Duration, bool) {
	if s == "-1" {
		return 0, true
	}
	d, ok := parseSpan(s)
	return d, ok && d > 0
}

var span = regexp.MustCompile(`^(?:(\d{1,4})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.\d+)?)?$`)

// parseSpan parses .NET's form of a time span, [d.]hh:mm[:ss[.fff]], to the
// second.
func parseSpan(s string) (time.Duration, bool) {
	m := span.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi("0" + m[i+1])
		d += time.Duration(n) * unit
	}
	return d, true
}
