package check

import (
	"maps"
	"os"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/config"
)

// TestNeighbours warns where the app shares what CIPP's own move would delete.
func TestNeighbours(t *testing.T) {
	apart := map[string]string{
		"AzureWebJobsStorage__accountName": "stninja", "CIPP_STORAGE__tableServiceUri": "https://stcipp.table.core.windows.net", "CIPP_KEY_VAULT_URI": "https://cippabcde.vault.azure.net",
		"WEBSITE_RESOURCE_GROUP": "rg-cipp-ninjaone", "CIPP_RESOURCE_GROUP": "rg-cipp",
		"FUNCTIONS_CUSTOMHANDLER_PORT": "1", "AzureFunctionsJobHost__functionTimeout": "00:30:00",
	}
	const storageShared, groupShared = "The app's own storage account is CIPP's.", "The app is in CIPP's resource group."
	const key = ";AccountKey=a2V5;EndpointSuffix=core.windows.net"
	for name, tt := range map[string]struct {
		change map[string]string
		want   []string
	}{
		"apart":                    {nil, nil},
		"one account, by its name": {map[string]string{"AzureWebJobsStorage__accountName": " StCIPP "}, []string{storageShared}},
		"one account, by a string": {map[string]string{"AzureWebJobsStorage__accountName": "", "AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=stcipp" + key}, []string{storageShared}},
		"one account, by strings":  {map[string]string{"AzureWebJobsStorage__accountName": "", "CIPP_STORAGE__tableServiceUri": "", "AzureWebJobsStorage": "AccountName=stcipp" + key, "CIPP_STORAGE": "TableEndpoint=https://stcipp.table.core.windows.net/;SharedAccessSignature=sv=x"}, []string{storageShared}},
		"one group":                {map[string]string{"WEBSITE_RESOURCE_GROUP": "RG-CIPP"}, []string{groupShared}},
		"both":                     {map[string]string{"WEBSITE_RESOURCE_GROUP": "RG-CIPP", "AzureWebJobsStorage__accountName": "stcipp"}, []string{storageShared, groupShared}},
		"groups that nobody told":  {map[string]string{"WEBSITE_RESOURCE_GROUP": "", "CIPP_RESOURCE_GROUP": ""}, nil},
		"on a developer's machine": {map[string]string{"NonLocalHostAzurite": "true", "AzureWebJobsStorage__accountName": "stcipp", "CIPP_KEY_VAULT_URI": ""}, nil},
		"addresses without a name": {map[string]string{"AzureWebJobsStorage__accountName": "", "AzureWebJobsStorage__tableServiceUri": "https://10.0.0.4/", "AzureWebJobsStorage__queueServiceUri": "https://10.0.0.4/", "AzureWebJobsStorage__blobServiceUri": "https://10.0.0.4/", "CIPP_STORAGE__tableServiceUri": "https://10.0.0.5/"}, nil},
	} {
		env := maps.Clone(apart)
		maps.Copy(env, tt.change)
		getenv := func(name string) string { return env[name] }
		s, err := config.FromEnvironment(getenv)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p := &part{Checker: New(Deps{Getenv: getenv, Settings: s})}
		p.settings()
		var got []string
		for _, f := range p.Findings {
			if f.Level == Problem {
				t.Errorf("%s: %+v", name, f)
			}
			if f.What == storageShared || f.What == groupShared {
				got = append(got, f.What)
			}
			if !strings.Contains(f.Meaning+f.Action, "resource group of its own") && f.What == groupShared {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if strings.Join(got, "|") != strings.Join(tt.want, "|") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestGuideSaysWhereCIPPRuns: README and guide say what cannot be shared, and why.
func TestGuideSaysWhereCIPPRuns(t *testing.T) {
	for file, all := range map[string][]string{
		"../../../README.md":        {"CIPP that its makers host cannot be shared with"},
		"../../../deploy/README.md": {"CIPP that is hosted by its makers cannot be shared with", "a resource group and a storage account of its own", "deletes every other app in CIPP's resource group, and the file shares of its storage account", "or as its web app where CIPP runs in its container"},
	} {
		text, err := os.ReadFile(file)
		must(t, err)
		flat := strings.Join(strings.Fields(string(text)), " ")
		for _, want := range all {
			if !strings.Contains(flat, want) {
				t.Errorf("%s does not say %q", file, want)
			}
		}
	}
}
