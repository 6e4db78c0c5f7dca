package seed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"cipp-ninjaone/sandbox/m365sim"
)

// row is one table entity by its column names.
type row map[string]any

// WriteCIPPTables writes what CIPP keeps to the storage account of the connection string,
// the way CIPP leaves it. That is the extension's settings, the mappings, the tenants,
// and in DevSecrets the credentials. It makes missing tables, replaces rows, and removes
// none.
func WriteCIPPTables(ctx context.Context, connectionString string, s *Seed) error {
	service, err := aztables.NewServiceClientFromConnectionString(connectionString, nil)
	if err != nil {
		return fmt.Errorf("opening the storage account for CIPP's tables: %w", err)
	}
	for _, table := range []struct {
		name string
		rows []row
	}{
		{"Extensionsconfig", []row{s.extensionRow()}}, {"CippMapping", append(s.fieldRows(), s.mappingRows()...)},
		{"NinjaOneSettings", s.settingRows()}, {"Tenants", s.tenantRows()}, {"Config", s.configRows()},
		{"ExcludedLicenses", s.licenseRows()}, {"DevSecrets", s.secretRows()}, {"templates", s.templateRows()},
		{"CippReportingDB", append(s.reportingRows(), s.cachedRows()...)}, {"CveExceptions", s.exceptionRows()},
	} {
		if err := writeRows(ctx, service.NewClient(table.name), table.name, table.rows); err != nil {
			return err
		}
	}
	return nil
}

// writeRows makes a table of CIPP if it is missing, and writes rows. It does so by
// partition, in the emulator's largest batches: a call costs it several times what a row
// does.
func writeRows(ctx context.Context, client *aztables.Client, table string, rows []row) error {
	var exists *azcore.ResponseError
	if _, err := client.CreateTable(ctx, nil); err != nil && !(errors.As(err, &exists) && exists.StatusCode == http.StatusConflict) {
		return fmt.Errorf("making CIPP's table %s: %w", table, err)
	}
	parts := map[any][]aztables.TransactionAction{}
	for _, r := range rows {
		key := r["PartitionKey"]
		parts[key] = append(parts[key], aztables.TransactionAction{ActionType: aztables.TransactionTypeInsertReplace, Entity: []byte(mustJSON(r))})
	}
	for _, rows := range parts {
		for batch := range slices.Chunk(rows, 100) {
			if _, err := client.SubmitTransaction(ctx, batch, nil); err != nil {
				return fmt.Errorf("writing rows of CIPP's table %s: %w", table, err)
			}
		}
	}
	return nil
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// extensionRow is the one row with the settings of all extensions. The key
// ClientID is written in the case of CIPP's front end.
func (s *Seed) extensionRow() row {
	instance := s.Ninja.Instance
	if s.Quirks.InstanceAsTyped != "" {
		instance = s.Quirks.InstanceAsTyped
	}
	ninja := map[string]any{
		"Enabled": true, "Instance": instance, "ClientID": s.Ninja.ClientID, "APIKey": "SentToKeyVault",
		"UserDocumentsEnabled": s.Quirks.UserDocuments, "LicenseDocumentsEnabled": s.Quirks.LicenseDocuments,
		"LicensedOnly": s.Quirks.LicensedOnly,
	}
	if s.Quirks.CVESync {
		ninja["CveSyncEnabled"], ninja["CveSyncPrefix"] = true, CVEPrefix
	}
	return row{"PartitionKey": "CippExtensions", "RowKey": "Config", "config": mustJSON(map[string]any{
		"NinjaOne": ninja,
		"Hudu":     map[string]any{"Enabled": false, "BaseURL": "https://docs.northwindow-it.example", "APIKey": "SentToKeyVault"},
		"HaloPSA":  map[string]any{"Enabled": true, "ResourceURL": "https://tickets.northwindow-it.example/api", "TicketType": map[string]any{"label": "Alert", "value": 21}},
	})}
}

func (s *Seed) fieldRows() []row {
	labels := map[string]string{}
	for _, f := range s.CustomFields {
		labels[f.Name] = f.Label
	}
	partition, id, name := "NinjaOneFieldMapping", "IntegrationId", "IntegrationName"
	if s.Quirks.LegacyFieldPartition {
		partition, id, name = "NinjaFieldMapping", "NinjaOne", "NinjaOneName"
	}
	var rows []row
	for field, custom := range s.FieldMapping {
		r := row{"PartitionKey": partition, "RowKey": field, id: custom, name: labels[custom]}
		if field == s.Quirks.UnmappedField {
			r[id], r[name] = "", "--- Do not synchronize ---"
		}
		rows = append(rows, r)
	}
	return rows
}

// cippTime writes a time as CIPP stores it in text.
func cippTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (s *Seed) mappingRows() []row {
	var rows []row
	for _, m := range s.Mappings {
		r := row{"PartitionKey": "NinjaOneMapping", "RowKey": m.TenantID,
			"IntegrationId": strconv.Itoa(m.OrganizationID), "IntegrationName": m.OrganizationName}
		if m.Legacy {
			r = row{"PartitionKey": "NinjaOrgsMapping", "RowKey": m.TenantID, "NinjaOne": strconv.Itoa(m.OrganizationID), "NinjaOneName": m.OrganizationName}
		}
		if m.ByDomain {
			i := slices.IndexFunc(s.Tenants, func(t *m365sim.Tenant) bool { return t.ID == m.TenantID })
			r["RowKey"] = s.Tenants[i].DefaultDomain
		}
		if m.LastStatus != "" {
			r["lastStatus"] = m.LastStatus
		}
		if !m.LastStart.IsZero() {
			r["lastStartTime"] = cippTime(m.LastStart)
			if m.StartAsDateTime {
				r["lastStartTime@odata.type"] = "Edm.DateTime"
			}
		}
		if !m.LastEnd.IsZero() {
			r["lastEndTime"] = cippTime(m.LastEnd)
		}
		rows = append(rows, r)
	}
	// Halo's mapping lives in the same table.
	return append(rows, row{"PartitionKey": "HaloMapping", "RowKey": s.Tenants[0].ID, "IntegrationId": "204", "IntegrationName": s.Tenants[0].DisplayName})
}

func (s *Seed) settingRows() []row {
	return []row{
		{"PartitionKey": "NinjaConfig", "RowKey": "NinjaSyncTime", "SettingValue": 37},
		{"PartitionKey": "NinjaConfig", "RowKey": "NinjaLastRunTime", "SettingValue": cippTime(s.Day.Add(-22 * time.Hour))},
	}
}

func (s *Seed) tenantRows() []row {
	rows := []row{{"PartitionKey": "Tenants", "RowKey": s.SAM.TenantID, "customerId": s.SAM.TenantID, "displayName": "*Partner Tenant",
		"defaultDomainName": "northwindow-it.example", "initialDomainName": "northwindowit.onmicrosoft.com", "domains": "PartnerTenant",
		"Excluded": false, "GraphErrorCount": 0}}
	for _, t := range s.Tenants {
		r := row{"PartitionKey": "Tenants", "RowKey": t.ID, "customerId": t.ID, "displayName": t.DisplayName,
			"defaultDomainName": t.DefaultDomain, "initialDomainName": t.InitialDomain, "domains": "", "Excluded": false,
			"GraphErrorCount": 0, "LastGraphError": "", "relationshipCount": 1, "hasAutoExtend": true, "RequiresRefresh": false,
			"relationshipEnd": cippTime(s.Day.AddDate(1, 0, 0)), "delegatedPrivilegeStatus": "granularDelegatedAdminPrivileges",
			"LastRefresh": cippTime(s.Day.Add(-3 * time.Hour)), "LastRefresh@odata.type": "Edm.DateTime", "ExcludeUser": "", "ExcludeDate": ""}
		if t.Direct {
			r["delegatedPrivilegeStatus"], r["relationshipCount"] = "directTenant", 0
		}
		if t.Login != m365sim.LoginOK {
			r["GraphErrorCount"], r["LastGraphError"] = 71, "AADSTS"+strconv.Itoa(int(t.Login))
		}
		if slices.Contains(s.ExcludedTenants, t.ID) {
			r["Excluded"], r["ExcludeUser"], r["ExcludeDate"] = true, "admin@northwindow-it.example", day(s.Day.AddDate(0, -1, 0))
		}
		rows = append(rows, r)
	}
	return rows
}

func (s *Seed) configRows() []row {
	return []row{
		{"PartitionKey": "InstanceProperties", "RowKey": "CIPPURL", "Value": s.CIPPHost},
		{"PartitionKey": "TimeSettings", "RowKey": "TimeSettings", "Timezone": "UTC"},
	}
}

func (s *Seed) licenseRows() []row {
	var rows []row
	for _, sku := range s.ExcludedSKUs {
		rows = append(rows, row{"PartitionKey": "License", "RowKey": sku.ID, "GUID": sku.ID, "Product_Display_Name": sku.Name})
	}
	// Excluded for alerts only: still shown.
	return append(rows, row{"PartitionKey": "License", "RowKey": skuMail.ID, "GUID": skuMail.ID, "Product_Display_Name": skuMail.Name, "ExcludedEverywhere": false})
}

func (s *Seed) secretRows() []row {
	secret := row{"PartitionKey": "Secret", "RowKey": "Secret", "ApplicationID": s.SAM.ApplicationID, "ApplicationSecret": s.SAM.ApplicationSecret,
		"TenantID": s.SAM.TenantID, "RefreshToken": s.SAM.RefreshToken}
	for _, t := range s.Tenants {
		if t.RefreshToken != "" {
			// Column names cannot hold "-"; CIPP writes "_" instead.
			secret[strings.ReplaceAll(t.ID, "-", "_")] = t.RefreshToken
		}
	}
	return []row{secret, {"PartitionKey": "NinjaOne", "RowKey": "NinjaOne", "APIKey": s.Ninja.Secret}}
}

func (s *Seed) templateRows() []row {
	all := map[string]any{
		"templateName": "Security baseline", "GUID": "6d0a4f0e-8f8e-4f7c-9a36-5d1f7a0c1b21", "runManually": false,
		"tenantFilter": []any{map[string]any{"label": "All Tenants", "value": "AllTenants"}},
		"standards": map[string]any{
			"AuditLog":               map[string]any{"action": []any{map[string]any{"label": "Remediate", "value": "Remediate"}, map[string]any{"label": "Alert", "value": "Alert"}}},
			"PasswordExpireDisabled": map[string]any{"action": []any{map[string]any{"label": "Report", "value": "Report"}}},
		},
	}
	one := map[string]any{
		"templateName": "Harborline extras", "GUID": "c2b6a1ff-2f55-4f2c-8a75-a37d2f9f0e57", "runManually": true,
		"tenantFilter": []any{map[string]any{"label": "Harborline", "value": s.Tenants[0].DefaultDomain}},
		"standards": map[string]any{
			"DisableBasicAuthSMTP": map[string]any{"action": []any{map[string]any{"label": "Remediate", "value": "Remediate"}}},
		},
	}
	var rows []row
	for _, t := range []map[string]any{all, one} {
		rows = append(rows, row{"PartitionKey": "StandardsTemplateV2", "RowKey": t["GUID"], "GUID": t["GUID"], "JSON": mustJSON(t)})
	}
	return append(rows, row{"PartitionKey": "CATemplate", "RowKey": "9c1f1f0e-5b57-4d9c-8d7e-0b0a5f5f1f11", "JSON": `{"displayName":"not a standard"}`})
}

// reportingRows are mailbox permissions from CIPP's cache for the first tenant. CIPP
// split the column of a large one. It split a larger one over rows as well.
func (s *Seed) reportingRows() []row {
	t := s.Tenants[0]
	domain := t.DefaultDomain
	var rows []row
	count := 0
	for i, box := range t.Mailboxes[:min(3, len(t.Mailboxes))] {
		id := box.String("ExternalDirectoryObjectId")
		data := map[string]any{"Identity": id, "id": id, "Permissions": []any{
			map[string]any{"User": "delegate@" + domain, "AccessRights": []string{"FullAccess"}, "IsInherited": false}}}
		if i > 0 {
			data["Notes"] = strings.Repeat("n", 40_000*i)
		}
		text := mustJSON(data)
		key := "MailboxPermissions-" + id
		base := row{"PartitionKey": domain, "RowKey": key, "Type": "MailboxPermissions"}
		count++
		switch i {
		case 0:
			base["Data"] = text
			rows = append(rows, base)
		case 1: // one property split: the manifest is a bare object
			headers := splitInto(base, "Data", text, 30720)
			base["SplitOverProps"] = mustJSON(map[string]any{"OriginalHeader": "Data", "SplitHeaders": headers})
			rows = append(rows, base)
		case 2: // split over two rows too, with the manifest in an array
			chunks := row{}
			headers := splitInto(chunks, "Data", text, 32256)
			base["OriginalEntityId"], base["PartIndex"] = key, 0
			base[headers[0]] = chunks[headers[0]]
			second := row{"PartitionKey": domain, "RowKey": key + "-part1", "OriginalEntityId": key, "PartIndex": 1,
				"SplitOverProps": mustJSON([]any{map[string]any{"OriginalHeader": "Data", "SplitHeaders": headers}})}
			for _, h := range headers[1:] {
				second[h] = chunks[h]
			}
			rows = append(rows, base, second)
		}
	}
	return append(rows, row{"PartitionKey": domain, "RowKey": "MailboxPermissions-Count", "Type": "MailboxPermissions", "DataCount": count})
}

func splitInto(r row, name, text string, size int) []string {
	var headers []string
	for i := 0; len(text) > 0; i++ {
		n := min(size, len(text))
		header := name + "_Part" + strconv.Itoa(i)
		r[header], text = text[:n], text[n:]
		headers = append(headers, header)
	}
	return headers
}
