package seed

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// readTable returns the rows of a table by "partition/row".
func readTable(t *testing.T, connection, table string) map[string]map[string]any {
	t.Helper()
	service, err := aztables.NewServiceClientFromConnectionString(connection, nil)
	must(t, err)
	rows := map[string]map[string]any{}
	for pager := service.NewClient(table).NewListEntitiesPager(nil); pager.More(); {
		page, err := pager.NextPage(context.Background())
		must(t, err)
		for _, b := range page.Entities {
			var r map[string]any
			must(t, json.Unmarshal(b, &r))
			rows[r["PartitionKey"].(string)+"/"+r["RowKey"].(string)] = r
		}
	}
	return rows
}

// TestWriteCIPPTables writes the tables twice into a real table service, as
// the demo does on a second start, and looks at the rows that are odd.
func TestWriteCIPPTables(t *testing.T) {
	connection := azuritetest.ForTest(t).ConnectionString()
	s := MSPAt(testDay)
	s.Quirks.UnmappedField = "DeviceLinks"
	for range 2 {
		must(t, WriteCIPPTables(context.Background(), connection, s))
	}

	config := readTable(t, connection, "Extensionsconfig")["CippExtensions/Config"]
	var extensions map[string]map[string]any
	must(t, json.Unmarshal([]byte(config["config"].(string)), &extensions))
	if n := extensions["NinjaOne"]; n["ClientID"] != s.Ninja.ClientID || n["Instance"] != "https://eu.ninjarmm.com" || n["APIKey"] != "SentToKeyVault" {
		t.Errorf("the extension is stored as %v", n)
	}
	if len(extensions) < 3 {
		t.Errorf("other extensions are missing: %v", extensions)
	}

	mapping := readTable(t, connection, "CippMapping")
	if r := mapping["NinjaOneMapping/"+Duplicates]; r["IntegrationId"] != "15" {
		t.Errorf("the row keyed by a domain is %v", r)
	}
	if r := mapping["NinjaOrgsMapping/"+s.Tenant(SharedSecond).ID]; r["NinjaOne"] != "21" {
		t.Errorf("the row of the old partition is %v", r)
	}
	if r := mapping["NinjaOneMapping/"+s.Tenant(Large).ID]; r["lastStartTime@odata.type"] != "Edm.DateTime" {
		t.Errorf("the time that is not text is stored as %v", r)
	}
	if r := mapping["NinjaOneMapping/"+s.Tenant(Ordinary).ID]; !strings.HasSuffix(r["lastEndTime"].(string), "Z") || r["lastEndTime@odata.type"] != nil {
		t.Errorf("the time that is text is stored as %v", r)
	}
	if r := mapping["NinjaOneFieldMapping/DeviceLinks"]; r["IntegrationId"] != "" {
		t.Errorf("the field that is not to be synchronized is stored as %v", r)
	}

	secrets := readTable(t, connection, "DevSecrets")
	column := strings.ReplaceAll(s.Tenant(Direct).ID, "-", "_")
	if r := secrets["Secret/Secret"]; r["RefreshToken"] != s.SAM.RefreshToken || r[column] != s.Tenant(Direct).RefreshToken {
		t.Error("the secrets are not stored as CIPP does")
	}
	if secrets["NinjaOne/NinjaOne"]["APIKey"] != s.Ninja.Secret {
		t.Error("NinjaOne's secret is not stored as CIPP does")
	}

	tenants := readTable(t, connection, "Tenants")
	if len(tenants) != len(s.Tenants)+1 || tenants["Tenants/"+s.Tenant(Excluded).ID]["Excluded"] != true {
		t.Errorf("%d tenants are stored, want %d and one excluded", len(tenants), len(s.Tenants)+1)
	}

	split := 0
	for _, r := range readTable(t, connection, "CippReportingDB") {
		if r["SplitOverProps"] != nil {
			split++
		}
	}
	if split != 2 {
		t.Errorf("%d rows of the cache are split over columns, want 2", split)
	}
}

// TestOldRows checks the rows that older releases of CIPP leave behind.
func TestOldRows(t *testing.T) {
	s := MSPAt(testDay)
	s.Quirks = Quirks{LegacyFieldPartition: true, Disabled: true}
	for _, r := range s.fieldRows() {
		if r["PartitionKey"] != "NinjaFieldMapping" || r["NinjaOne"] != s.FieldMapping[r["RowKey"].(string)] || r["IntegrationId"] != nil {
			t.Errorf("the old row of a field is %v", r)
		}
	}
	if config := s.extensionRow()["config"].(string); !strings.Contains(config, `"Enabled":false`) || !strings.Contains(config, `"Instance":"eu.ninjarmm.com"`) {
		t.Errorf("the extension that is switched off is %s", config)
	}
}

func TestWriteCIPPTablesRefused(t *testing.T) {
	if err := WriteCIPPTables(context.Background(), "AccountName=nobody", MSPAt(testDay)); err == nil {
		t.Error("a bad connection string is no error")
	}
}
