package funchost

import (
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
