package settings

import (
	"net/http"
	"strings"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/words"
)

// tenantRow is a tenant in CIPP's words.
type tenantRow struct {
	PartitionKey             string `json:",omitempty"`
	RowKey                   string `json:",omitempty"`
	CustomerID               string `json:"customerId"`
	DefaultDomainName        string `json:"defaultDomainName"`
	InitialDomainName        string `json:"initialDomainName,omitempty"`
	DisplayName              string `json:"displayName"`
	Domains                  string `json:"domains,omitempty"`
	DelegatedPrivilegeStatus string `json:"delegatedPrivilegeStatus,omitempty"`
	Excluded                 bool
	GraphErrorCount          int
	Results                  string `json:",omitempty"`
}

// listTenants is CIPP's ListTenants. It lists the tenants that are not excluded, those
// with Graph errors among them. With AllTenantSelector an entry for all of them comes
// first. With tenantFilter it lists the one of that default domain or id.
func (h *Handlers) listTenants(_ http.ResponseWriter, r *http.Request) (any, error) {
	tenants, err := h.CIPP.Tenants(r.Context())
	if err != nil {
		return nil, err
	}
	filter := query(r, "tenantFilter")
	if filter == "null" {
		filter = ""
	}
	rows := []tenantRow{}
	if filter == "" && truth(query(r, "AllTenantSelector")) {
		rows = append(rows, tenantRow{CustomerID: "AllTenants", DefaultDomainName: "AllTenants", DisplayName: "*All Tenants", Domains: "AllTenants"})
	}
	for _, t := range tenants {
		if filter == "" || strings.EqualFold(filter, t.DefaultDomain) || strings.EqualFold(filter, t.ID) {
			rows = append(rows, rowOf(t))
		}
	}
	return rows, nil
}

// noTenants tells why there is no list. CIPP's page shows this entry's name, and can save
// nothing for it.
func noTenants(w http.ResponseWriter, err error) {
	respond(w, http.StatusOK, []tenantRow{{DisplayName: "Failed to retrieve tenants.", Results: "Failed to retrieve tenants: " + words.End(err.Error())}})
}

func rowOf(t cipp.Tenant) tenantRow {
	row := tenantRow{
		PartitionKey: "Tenants", RowKey: t.ID, CustomerID: t.ID, DefaultDomainName: t.DefaultDomain, InitialDomainName: t.InitialDomain,
		DisplayName: t.DisplayName, DelegatedPrivilegeStatus: "granularDelegatedAdminPrivileges", GraphErrorCount: t.ErrorCount,
	}
	if t.Direct {
		row.DelegatedPrivilegeStatus = "directTenant"
	}
	return row
}
