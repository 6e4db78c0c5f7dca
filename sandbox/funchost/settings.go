package funchost

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// storageSetting is the setting that names the function app's own storage.
const storageSetting = "AzureWebJobsStorage"

// developmentStorage is what UseDevelopmentStorage=true stands for: the storage
// emulator's built-in account on its default ports.
const developmentStorage = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
	"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
	"BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;" +
	"TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"

// LoadSettings reads the app settings of a local.settings.json file: its Values
// object, names to text.
func LoadSettings(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the local settings: %w", err)
	}
	var file struct {
		IsEncrypted bool
		Values      map[string]string
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("the local settings in %s are not as local.settings.json has them, all values text: %w", path, err)
	}
	if file.IsEncrypted {
		return nil, fmt.Errorf("the local settings in %s are encrypted; only plain ones can be read", path)
	}
	return file.Values, nil
}

// mergeSettings lays the app settings over a process environment of the form
// name=value.
func mergeSettings(environ []string, settings map[string]string) map[string]string {
	merged := make(map[string]string, len(environ)+len(settings))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			merged[name] = value
		}
	}
	for name, value := range settings {
		merged[name] = value
	}
	return merged
}

var settingReference = regexp.MustCompile(`%([^%]*)%`)

// resolveNames replaces each %SETTING% by the setting's value; an unknown one is
// an error, as in a schedule or a queue name.
func resolveNames(text string, settings map[string]string) (string, error) {
	var missing string
	out := settingReference.ReplaceAllStringFunc(text, func(match string) string {
		value, ok := settings[strings.Trim(match, "%")]
		if !ok {
			missing = match
		}
		return value
	})
	if missing != "" {
		return "", fmt.Errorf("%q names the setting %s, which is not set", text, missing)
	}
	return out, nil
}

// expandVariables replaces each %NAME% by the value of the variable and leaves
// unknown ones as they are, as in the handler's arguments.
func expandVariables(text string, settings map[string]string) string {
	return settingReference.ReplaceAllStringFunc(text, func(match string) string {
		if value, ok := settings[strings.Trim(match, "%")]; ok {
			return value
		}
		return match
	})
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
	if strings.EqualFold(strings.TrimRight(strings.TrimSpace(value), ";"), "UseDevelopmentStorage=true") {
		return developmentStorage, nil
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
