package m365

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

const routeManagedV1 = "GET /v1.0/deviceManagement/managedDevices"

func TestComplianceStates(t *testing.T) {
	c := newCloud(t)
	c.on(routeManagedV1, func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("$select") != "id,azureADDeviceId,complianceState,lastSyncDateTime" || q.Get("$top") != "1000" || len(q) != 2 {
			c.problem("asked with %s", r.URL.RawQuery)
		}
		c.value(`{"id":"M1","azureADDeviceId":"DEV1","complianceState":"compliant"},{"id":"m2","azureADDeviceId":"`+wire.ZeroGUID+`","complianceState":"error"}`)(w, r)
	})
	got, err := c.reader().ComplianceStates(t.Context(), testRef)
	if err != nil {
		t.Fatal(err)
	}
	want := []tenant.ManagedDevice{{ID: "m1", AzureADDeviceID: "dev1", ComplianceState: "compliant"}, {ID: "m2", ComplianceState: "error"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	if n := c.count(routeManagedV1); n != 1 {
		t.Errorf("took %d calls", n)
	}
}

func TestComplianceStatesRefused(t *testing.T) {
	tests := map[string]struct {
		status  int
		message string
		none    bool
		says    string
	}{
		"no Intune":     {400, "Request not applicable to target tenant.", true, "no Intune"},
		"no permission": {403, "Application is not authorized", false, "DeviceManagementManagedDevices.Read.All"},
		"bad request":   {400, "Something", false, "HTTP 400"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeManagedV1, c.says(tt.status, `{"error":{"code":"X","message":"`+tt.message+`"}}`))
			_, err := c.reader().ComplianceStates(t.Context(), testRef)
			if _, none := errors.AsType[*NoIntuneError](err); none != tt.none || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v", err)
			}
			if serials, err := c.reader().Serials(t.Context(), testRef); (err == nil) != tt.none || len(serials) > 0 {
				t.Errorf("serial numbers %q, %v", serials, err)
			}
		})
	}
}

func TestSerials(t *testing.T) {
	c := newCloud(t)
	c.on(routeManagedV1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skiptoken") != "" {
			c.value(`{"id":"m2","serialNumber":"SN2"},{"id":"m3","serialNumber":null},{"id":"m4"},{"id":"","serialNumber":"SN5"},{"id":"","serialNumber":"SN6"}`)(w, r)
			return
		}
		if q := r.URL.Query(); q.Get("$select") != "id,serialNumber" || q.Get("$top") != "1000" {
			c.problem("asked with %s", r.URL.RawQuery)
		}
		c.says(200, `{"@odata.nextLink":"{host}/v1.0/deviceManagement/managedDevices?$skiptoken=2","value":[{"id":"m1","serialNumber":"SN1"},{"id":"m2","serialNumber":"SN2"}]}`)(w, r)
	})
	got, err := c.reader().Serials(t.Context(), testRef)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"SN1", "SN2", "", "", "SN5", "SN6"}; !slices.Equal(got, want) {
		t.Errorf("serial numbers %q, want %q", got, want)
	}
	if n := c.count(routeManagedV1); n != 2 {
		t.Errorf("%d calls for two pages", n)
	}
}

func TestNamedDevices(t *testing.T) {
	c := newCloud(t)
	c.on("GET /v1.0/devices/o1", c.says(200, `{"id":"o1","deviceId":"DEV1"}`))
	c.on("GET /v1.0/devices/gone", c.says(404, `{"error":{"code":"Request_ResourceNotFound","message":"x"}}`))
	c.on(routeManagedV1, func(w http.ResponseWriter, r *http.Request) {
		switch f := r.URL.Query().Get("$filter"); f {
		case "azureADDeviceId eq 'dev1'":
			c.value(`{"id":"m1","azureADDeviceId":"DEV1","complianceState":"compliant","serialNumber":"SN1"},{"id":"m2","azureADDeviceId":"other"}`)(w, r)
		case "azureADDeviceId eq 'dev2'":
			c.value(``)(w, r)
		default:
			c.problem("filtered by %q", f)
		}
	})
	r := c.reader()
	ids, err := r.EntraDeviceIDs(t.Context(), testRef, []string{"gone", "o1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "dev1"}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	lists, err := r.ManagedDevicesOf(t.Context(), testRef, []string{"dev2", "dev1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(lists) != 2 || len(lists[0]) != 0 || len(lists[1]) != 1 || lists[1][0].ID != "m1" || lists[1][0].SerialNumber != "SN1" {
		t.Errorf("got %+v", lists)
	}

	c.on("GET /v1.0/devices/o1", c.says(403, `{"error":{"code":"Authorization_RequestDenied","message":"x"}}`))
	if _, err := r.EntraDeviceIDs(t.Context(), testRef, []string{"o1"}); err == nil || !strings.Contains(err.Error(), "Device.Read.All") {
		t.Errorf("error %v", err)
	}
}
