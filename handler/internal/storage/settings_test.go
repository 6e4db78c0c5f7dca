package storage

import (
	"strings"
	"testing"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

const secretKey = "c2VjcmV0LWtleS1vZi1mYWJyaWthbQ=="

func TestOpen(t *testing.T) {
	full := "DefaultEndpointsProtocol=https;AccountName=fabrikam;AccountKey=" + secretKey + ";EndpointSuffix=core.windows.net"
	tests := []struct {
		name        string
		env         map[string]string
		prefix      string
		queue, blob string // addresses
		err         string // a part of the error
	}{
		{"connection string", map[string]string{Own: full}, Own, "https://fabrikam.queue.core.windows.net/", "https://fabrikam.blob.core.windows.net/", ""},
		{"sovereign suffix", map[string]string{Own: strings.Replace(full, "core.windows.net", "core.chinacloudapi.cn", 1)}, Own, "https://fabrikam.queue.core.chinacloudapi.cn/", "https://fabrikam.blob.core.chinacloudapi.cn/", ""},
		{"names in any case, spaces, trailing semicolons", map[string]string{Own: " accountname=fabrikam ; ACCOUNTKEY=" + secretKey + ";;"}, Own, "https://fabrikam.queue.core.windows.net/", "https://fabrikam.blob.core.windows.net/", ""},
		{"shared access signature", map[string]string{CIPP: "QueueEndpoint=https://fabrikam.queue.core.windows.net;TableEndpoint=https://fabrikam.table.core.windows.net;SharedAccessSignature=sv=1&sig=abc"}, CIPP, "https://fabrikam.queue.core.windows.net/?sv=1&sig=abc", "", ""},
		{"development storage", map[string]string{Own: "UseDevelopmentStorage=true"}, Own, "http://127.0.0.1:10001/devstoreaccount1/", "http://127.0.0.1:10000/devstoreaccount1/", ""},
		{"development storage behind a proxy", map[string]string{Own: "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://emulator.example"}, Own, "http://emulator.example:10001/devstoreaccount1/", "http://emulator.example:10000/devstoreaccount1/", ""},
		{"CIPP's is the app's own in development", map[string]string{Own: "UseDevelopmentStorage=true"}, CIPP, "http://127.0.0.1:10001/devstoreaccount1/", "http://127.0.0.1:10000/devstoreaccount1/", ""},
		{"CIPP's is the app's own with an emulator elsewhere", map[string]string{Own: full, "NonLocalHostAzurite": "True"}, CIPP, "https://fabrikam.queue.core.windows.net/", "https://fabrikam.blob.core.windows.net/", ""},
		{"CIPP's own wins", map[string]string{Own: "UseDevelopmentStorage=true", CIPP: full}, CIPP, "https://fabrikam.queue.core.windows.net/", "https://fabrikam.blob.core.windows.net/", ""},
		{"identity by account name", map[string]string{"AzureWebJobsStorage__accountName": "contosoapp", Own: full}, Own, "https://contosoapp.queue.core.windows.net/", "https://contosoapp.blob.core.windows.net/", ""},
		{"identity by addresses", map[string]string{"CIPP_STORAGE__tableServiceUri": "https://cipp.table.core.windows.net", "CIPP_STORAGE__queueServiceUri": "https://cipp.queue.core.windows.net", "CIPP_STORAGE__credential": "managedidentity", "CIPP_STORAGE__clientId": "11111111-0000-0000-0000-000000000001"}, CIPP, "https://cipp.queue.core.windows.net/", "", ""},
		{"managed identity of the platform", map[string]string{"AzureWebJobsStorage__accountName": "contosoapp", "IDENTITY_ENDPOINT": "http://127.0.0.1:41741/msi/token", "IDENTITY_HEADER": "x"}, Own, "https://contosoapp.queue.core.windows.net/", "https://contosoapp.blob.core.windows.net/", ""},

		{"nothing", nil, Own, "", "", "setting AzureWebJobsStorage is missing"},
		{"nothing for CIPP outside development", map[string]string{Own: full}, CIPP, "", "", "setting CIPP_STORAGE is missing"},
		{"unresolved reference", map[string]string{CIPP: "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"}, CIPP, "", "", "has not resolved"},
		{"no key", map[string]string{Own: "AccountName=fabrikam"}, Own, "", "", "neither AccountKey nor SharedAccessSignature"},
		{"key without name", map[string]string{Own: "AccountKey=" + secretKey}, Own, "", "", "no AccountName"},
		{"broken key", map[string]string{Own: "AccountName=fabrikam;AccountKey=%" + secretKey}, Own, "", "", "not base64"},
		{"no connection string at all", map[string]string{Own: secretKey[:10]}, Own, "", "", "no equals sign"},
		{"plain http", map[string]string{Own: strings.Replace(full, "=https", "=http", 1)}, Own, "", "", "plain http"},
		{"other scheme", map[string]string{Own: strings.Replace(full, "=https", "=ftp", 1)}, Own, "", "", "not an https address"},
		{"proxy that is not an address", map[string]string{Own: "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=nowhere"}, Own, "", "", "DevelopmentStorageProxyUri"},
		{"no address of the queues", map[string]string{"AzureWebJobsStorage__tableServiceUri": "https://contosoapp.table.core.windows.net", "AzureWebJobsStorage__blobServiceUri": "https://contosoapp.blob.core.windows.net"}, Own, "", "", "set AzureWebJobsStorage__queueServiceUri"},
		{"no address of CIPP's tables", map[string]string{"CIPP_STORAGE__queueServiceUri": "https://cipp.queue.core.windows.net"}, CIPP, "", "", "set CIPP_STORAGE__tableServiceUri"},
		{"credential of an unknown kind", map[string]string{"CIPP_STORAGE__accountName": "x", "CIPP_STORAGE__credential": "certificate"}, CIPP, "", "", "CIPP_STORAGE__credential"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := Open(env(tt.env), tt.prefix)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error is %v, want one that says %q", err, tt.err)
				}
				if strings.Contains(err.Error(), secretKey[:10]) {
					t.Errorf("the error shows the setting's value: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := address(a.queues != nil, func() string { return a.queues.URL() }); !sameAddress(got, tt.queue) {
				t.Errorf("queue address is %q, want %q", got, tt.queue)
			}
			if got := address(a.blobs != nil, func() string { return a.blobs.URL() }); !sameAddress(got, tt.blob) {
				t.Errorf("blob address is %q, want %q", got, tt.blob)
			}
			if a.tables == nil {
				t.Error("there is no table client")
			}
		})
	}
}

func address(known bool, url func() string) string {
	if !known {
		return ""
	}
	return url()
}

func sameAddress(a, b string) bool {
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}

func TestIsDevelopment(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"development storage":    {map[string]string{Own: "UseDevelopmentStorage=true"}, true},
		"with a proxy":           {map[string]string{Own: "usedevelopmentstorage=TRUE;DevelopmentStorageProxyUri=http://x"}, true},
		"emulator elsewhere":     {map[string]string{Own: "AccountName=a;AccountKey=b", "NonLocalHostAzurite": "true"}, true},
		"an account":             {map[string]string{Own: "AccountName=a;AccountKey=b"}, false},
		"nothing":                {nil, false},
		"explicitly not":         {map[string]string{Own: "UseDevelopmentStorage=false", "NonLocalHostAzurite": "false"}, false},
		"only CIPP's is set so":  {map[string]string{CIPP: "UseDevelopmentStorage=true"}, false},
		"no connection string":   {map[string]string{Own: "UseDevelopmentStorage"}, false},
		"identity-based account": {map[string]string{"AzureWebJobsStorage__accountName": "a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := IsDevelopment(env(tt.env)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzOpenConnectionString(f *testing.F) {
	f.Add("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://[::1]:8080")
	f.Add("AccountName=a;AccountKey=b==;BlobEndpoint=http://127.0.0.1:1/a")
	f.Add("SharedAccessSignature=?sig=x;TableEndpoint=https://a;;=;")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := openConnectionString(Own, s, false)
		if (a == nil) == (err == nil) {
			t.Fatalf("account %v and error %v", a, err)
		}
		if err != nil && !strings.Contains(err.Error(), "setting "+Own) {
			t.Errorf("the error does not name the setting: %v", err)
		}
	})
}
