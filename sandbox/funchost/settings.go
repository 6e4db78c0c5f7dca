package funchost

import (
	"fmt"
	"maps"
	"strings"
)

// storageSetting is the setting that names the function app's own storage.
const storageSetting = "AzureWebJobsStorage"

// mergeSettings lays the app settings over a process environment of the form
// name=value.
func mergeSettings(environ []string, settings map[string]string) map[string]string {
	merged := make(map[string]string, len(environ)+len(settings))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			merged[name] = value
		}
	}
	maps.Copy(merged, settings)
	return merged
}

// connection returns the storage connection string that a binding's connection
// property names. The property is the name of a setting, or empty for the
// function app's own storage.
func connection(name string, settings map[string]string) (string, error) {
	if name == "" {
		name = storageSetting
	}
	// The host tries the name with its own prefix first.
	value := settings["AzureWebJobs"+name]
	if value == "" {
		value = settings[name]
	}
	if value == "" {
		return "", fmt.Errorf("the setting %s holds no storage connection string; identity-based connections cannot be used here", name)
	}
	return value, nil
}

// disabled tells whether the app settings switch a function off. With doubled
// underscores, as in other settings, the host does not know the name.
func disabled(function string, settings map[string]string) bool {
	for _, name := range []string{"AzureWebJobs." + function + ".Disabled", "AzureWebJobs_" + function + "_Disabled"} {
		switch strings.ToLower(settings[name]) {
		case "true", "1":
			return true
		}
	}
	return false
}
