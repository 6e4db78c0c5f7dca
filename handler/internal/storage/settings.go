package storage

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/endpoint"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	blobservice "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"
)

// The settings that name a storage account. Each may be a connection string,
// or stand before the identity-based settings of Azure Functions, for example
// AzureWebJobsStorage__accountName.
const (
	Own  = "AzureWebJobsStorage" // the function app's own account
	CIPP = "CIPP_STORAGE"        // CIPP's account
)

// The emulator's account, the same in every copy of it.
const (
	developmentAccount = "devstoreaccount1"
	developmentKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Account is one storage account. It is safe for concurrent use. CIPP's account is for its
// tables alone.
type Account struct {
	tables *aztables.ServiceClient
	queues *azqueue.ServiceClient
	blobs  *blobservice.Client
	newest int64 // see Upto
}

// services are those of an account. Of CIPP's the app uses only the first.
var services = []string{"table", "queue", "blob"}

// IsDevelopment reports whether the app runs on development storage, by CIPP's
// own rule: AzureWebJobsStorage is UseDevelopmentStorage=true, or
// NonLocalHostAzurite is true.
func IsDevelopment(getenv func(string) string) bool {
	if strings.EqualFold(strings.TrimSpace(getenv("NonLocalHostAzurite")), "true") {
		return true
	}
	fields, err := parseConnectionString(getenv(Own))
	return err == nil && strings.EqualFold(fields["usedevelopmentstorage"], "true")
}

// Open opens the account that the settings under prefix name. The identity-based settings
// come first: <prefix>__accountName, or <prefix>__tableServiceUri, __queueServiceUri and
// __blobServiceUri (with __credential and __clientId). The connection string in <prefix>
// itself comes next. With nothing set, CIPP_STORAGE on development storage is the app's
// own account. Open calls nothing yet. Errors name the setting, never its value.
func Open(getenv func(string) string, prefix string) (*Account, error) {
	endpoints := map[string]string{}
	for _, service := range services {
		endpoints[service] = strings.TrimSpace(getenv(prefix + "__" + service + "ServiceUri"))
		if name := strings.TrimSpace(getenv(prefix + "__accountName")); name != "" && endpoints[service] == "" {
			endpoints[service] = "https://" + name + "." + service + ".core.windows.net"
		}
	}
	if endpoints["table"]+endpoints["queue"]+endpoints["blob"] != "" {
		credential, err := Credential(getenv, prefix)
		if err != nil {
			return nil, err
		}
		return dial(prefix, endpoints, IsDevelopment(getenv), credentials{token: credential})
	}
	value := strings.TrimSpace(getenv(prefix))
	switch {
	case value == "" && prefix == CIPP && IsDevelopment(getenv):
		return Open(getenv, Own)
	case value == "":
		return nil, fmt.Errorf("setting %s is missing: set it to a storage connection string, or set %s__accountName to use the app's identity", prefix, prefix)
	case strings.HasPrefix(value, "@Microsoft.KeyVault("):
		return nil, fmt.Errorf("setting %s is a Key Vault reference that the platform has not resolved: check the reference's status among the app's settings", prefix)
	}
	return openConnectionString(prefix, value, IsDevelopment(getenv))
}

// AccountName is the name, in lower case, of the account that the settings under prefix
// name. It is "" where they name none, or an address of another kind.
func AccountName(getenv func(string) string, prefix string) string {
	name := getenv(prefix + "__accountName")
	var addresses []string
	for _, service := range services {
		addresses = append(addresses, getenv(prefix+"__"+service+"ServiceUri"))
	}
	if fields, err := parseConnectionString(getenv(prefix)); err == nil && strings.Join(append(addresses, name), "") == "" {
		name = fields["accountname"]
		addresses = []string{fields["tableendpoint"], fields["queueendpoint"], fields["blobendpoint"]}
	}
	for _, address := range addresses {
		if u, err := url.Parse(strings.TrimSpace(address)); err == nil && strings.TrimSpace(name) == "" && net.ParseIP(u.Hostname()) == nil {
			name, _, _ = strings.Cut(u.Hostname(), ".")
		}
	}
	return strings.ToLower(strings.TrimSpace(name))
}

func openConnectionString(setting, value string, development bool) (*Account, error) {
	fields, err := parseConnectionString(value)
	if err != nil {
		return nil, fmt.Errorf("setting %s is not a storage connection string: %w", setting, err)
	}
	if strings.EqualFold(fields["usedevelopmentstorage"], "true") {
		if fields, err = developmentFields(fields["developmentstorageproxyuri"]); err != nil {
			return nil, fmt.Errorf("setting %s: %w", setting, err)
		}
		development = true
	}
	name, suffix, scheme := fields["accountname"], cmp.Or(fields["endpointsuffix"], "core.windows.net"), cmp.Or(fields["defaultendpointsprotocol"], "https")
	endpoints := map[string]string{}
	for _, service := range services {
		endpoints[service] = fields[service+"endpoint"]
		if endpoints[service] == "" && name != "" {
			endpoints[service] = scheme + "://" + name + "." + service + "." + suffix
		}
	}
	c := credentials{account: name, key: fields["accountkey"], sas: strings.TrimPrefix(fields["sharedaccesssignature"], "?")}
	switch {
	case c.key != "" && name == "":
		return nil, fmt.Errorf("setting %s has an AccountKey but no AccountName: copy the whole connection string", setting)
	case c.key == "" && c.sas == "":
		return nil, fmt.Errorf("setting %s has neither AccountKey nor SharedAccessSignature: copy the whole connection string", setting)
	}
	if _, err := base64.StdEncoding.DecodeString(c.key); err != nil {
		return nil, fmt.Errorf("setting %s: its AccountKey is not base64 text: copy the whole connection string", setting)
	}
	return dial(setting, endpoints, development, c)
}

// parseConnectionString returns the parts of a connection string by
// lower-cased name.
func parseConnectionString(s string) (map[string]string, error) {
	fields := map[string]string{}
	for part := range strings.SplitSeq(s, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, errors.New("one of its parts between semicolons has no equals sign")
		}
		fields[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	if len(fields) == 0 {
		return nil, errors.New("it is empty")
	}
	return fields, nil
}

// developmentFields spells out UseDevelopmentStorage=true, which the Azure SDK
// for Go does not know. The proxy's own port, if any, does not count.
func developmentFields(proxy string) (map[string]string, error) {
	scheme, host := "http", "127.0.0.1"
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, errors.New("DevelopmentStorageProxyUri is not an http address")
		}
		scheme, host = u.Scheme, u.Hostname()
	}
	fields := map[string]string{"accountname": developmentAccount, "accountkey": developmentKey}
	for service, port := range map[string]string{"blob": "10000", "queue": "10001", "table": "10002"} {
		fields[service+"endpoint"] = scheme + "://" + net.JoinHostPort(host, port) + "/" + developmentAccount
	}
	return fields, nil
}

// Credential returns the app's identity for the settings under prefix. It is the managed
// identity where <prefix>__credential asks for it or the platform offers one
// (IDENTITY_ENDPOINT). It is user-assigned when <prefix>__clientId or AZURE_CLIENT_ID
// names it. Anywhere else it is azidentity's default chain.
func Credential(getenv func(string) string, prefix string) (azcore.TokenCredential, error) {
	kind := getenv(prefix + "__credential")
	if kind != "" && !strings.EqualFold(kind, "managedidentity") {
		return nil, fmt.Errorf("setting %s__credential is not supported: leave it out or set it to managedidentity", prefix)
	}
	if kind != "" || getenv("IDENTITY_ENDPOINT") != "" {
		o := &azidentity.ManagedIdentityCredentialOptions{}
		if client := cmp.Or(getenv(prefix+"__clientId"), getenv("AZURE_CLIENT_ID")); client != "" {
			o.ID = azidentity.ClientID(client)
		}
		c, err := azidentity.NewManagedIdentityCredential(o)
		if err != nil {
			return nil, fmt.Errorf("use the app's managed identity for %s: %w", prefix, err)
		}
		return c, nil
	}
	c, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("find an identity for %s: %w", prefix, err)
	}
	return c, nil
}

// credentials is one of an identity, an account key, or a shared access
// signature.
type credentials struct {
	token        azcore.TokenCredential
	account, key string
	sas          string
}

// clientOptions bounds what one call may cost: at most four tries of half a
// minute each. The SDK honours Retry-After.
func clientOptions() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{
		MaxRetries:    3,
		TryTimeout:    30 * time.Second,
		RetryDelay:    500 * time.Millisecond,
		MaxRetryDelay: 15 * time.Second,
	}}
}

func dial(setting string, endpoints map[string]string, development bool, c credentials) (*Account, error) {
	a := &Account{}
	for _, service := range services {
		raw := endpoints[service]
		u, err := url.Parse(raw)
		switch {
		case raw == "" && setting == CIPP && service != "table":
			continue
		case raw == "":
			return nil, fmt.Errorf("setting %s names no address for the %s service, which is needed: set %s__%sServiceUri or %s__accountName", setting, service, setting, service, setting)
		case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
			return nil, fmt.Errorf("setting %s: its %s address is not an https address", setting, service)
		case !development && !endpoint.Safe(u):
			return nil, fmt.Errorf("setting %s: its %s address is plain http, which would send keys and tenant data unencrypted: use https", setting, service)
		}
		if c.sas != "" {
			raw = strings.TrimSuffix(raw, "/") + "/?" + c.sas
		}
		switch service {
		case "table":
			a.tables, err = connect(raw, c, &aztables.ClientOptions{ClientOptions: clientOptions()}, aztables.NewServiceClient,
				aztables.NewSharedKeyCredential, aztables.NewServiceClientWithSharedKey, aztables.NewServiceClientWithNoCredential)
		case "queue":
			a.queues, err = connect(raw, c, &azqueue.ClientOptions{ClientOptions: clientOptions()}, azqueue.NewServiceClient,
				azqueue.NewSharedKeyCredential, azqueue.NewServiceClientWithSharedKeyCredential, azqueue.NewServiceClientWithNoCredential)
		case "blob":
			a.blobs, err = connect(raw, c, &blobservice.ClientOptions{ClientOptions: clientOptions()}, blobservice.NewClient,
				azblob.NewSharedKeyCredential, blobservice.NewClientWithSharedKeyCredential, blobservice.NewClientWithNoCredential)
		}
		if err != nil {
			return nil, fmt.Errorf("open the %s service of setting %s: %w", service, setting, err)
		}
	}
	return a, nil
}

// connect makes the client of one service by an identity, an account key, or the
// signature in the address.
func connect[Client, Options, Key any](address string, c credentials, o Options,
	byToken func(string, azcore.TokenCredential, Options) (Client, error),
	key func(account, key string) (Key, error), byKey func(string, Key, Options) (Client, error),
	bySignature func(string, Options) (Client, error)) (none Client, err error) {
	switch {
	case c.token != nil:
		return byToken(address, c.token, o)
	case c.key == "":
		return bySignature(address, o)
	}
	k, err := key(c.account, c.key)
	if err != nil {
		return none, err
	}
	return byKey(address, k, o)
}
