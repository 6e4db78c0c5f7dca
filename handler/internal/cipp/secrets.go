package cipp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/words"
)

// Names of CIPP's secrets. A direct tenant's refresh token has the tenant's GUID as its
// name.
const (
	SecretApplicationID     = "ApplicationID"
	SecretApplicationSecret = "ApplicationSecret"
	SecretTenantID          = "TenantID" // on old installations a domain name
	SecretRefreshToken      = "RefreshToken"
	SecretNinjaOne          = "NinjaOne" // the API client's secret
)

// Errors of Secrets that callers tell apart with errors.Is.
var (
	ErrNoSecret = errors.New("there is no such secret")
	ErrNotSetUp = errors.New("CIPP is not set up: finish its setup wizard first")
)

// placeholders are what a fresh deployment of CIPP stores.
var placeholders = map[string]string{
	SecretApplicationID:     "LongApplicationId",
	SecretApplicationSecret: "AppSecret",
	SecretRefreshToken:      "RefreshToken",
	SecretTenantID:          "tenantId",
}

const (
	secretLife    = 5 * time.Minute  // how long a value is used before it is read again
	secretPause   = 10 * time.Second // shortest time between two fresh reads of one secret
	secretTimeout = 30 * time.Second
)

// Secrets reads CIPP's secrets and keeps each for a few minutes. It is safe for
// concurrent use. No error, log line or formatting of it shows a value.
type Secrets struct {
	load  func(ctx context.Context, name string) (string, error)
	store func(ctx context.Context, name, value string) error
	// storable finds out whether store would be allowed.
	storable func(ctx context.Context) error
	kept     lookup.Cache[string, keptSecret]
}

type keptSecret struct {
	value string
	read  time.Time
}

func newSecrets(load func(context.Context, string) (string, error)) *Secrets {
	return &Secrets{load: load, kept: lookup.Cache[string, keptSecret]{Limit: secretTimeout}}
}

// Format writes a fixed word, so that formatting never shows a value.
func (s *Secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secrets]") }

// LogValue is a fixed word, so that logging never shows a value.
func (s *Secrets) LogValue() slog.Value { return slog.StringValue("[secrets]") }

// Secret returns a secret's value. Callers pass fresh after a service has refused the
// kept value. That reads one secret at most every ten seconds. Callers at the same time
// share one read. The error is ErrNotSetUp for the placeholder of a new deployment,
// ErrNoSecret when there is none.
func (s *Secrets) Secret(ctx context.Context, name string, fresh bool) (string, error) {
	life := secretLife
	if fresh {
		life = secretPause
	}
	good := func(have keptSecret) bool { return time.Since(have.read) < life }
	got, err := s.kept.Get(ctx, name, good, func(ctx context.Context, _ keptSecret) (keptSecret, error) {
		value, err := s.load(ctx, name)
		if value = strings.TrimSpace(value); err == nil {
			err = check(name, value)
		}
		return keptSecret{value, time.Now()}, err
	})
	if err != nil {
		return "", fmt.Errorf("read CIPP's secret %s: %w", name, err)
	}
	return got.value, nil
}

func check(name, value string) error {
	switch {
	case value == "" && name == SecretNinjaOne:
		return fmt.Errorf("%w: save the NinjaOne API client's secret in CIPP under Integrations, NinjaOne", ErrNoSecret)
	case value == "":
		return ErrNoSecret
	case placeholders[name] == value:
		return fmt.Errorf("it still holds the placeholder of a fresh deployment: %w", ErrNotSetUp)
	}
	return nil
}

// OpenSecrets opens CIPP's secrets as CIPP itself would find them. On development storage
// they are in the table DevSecrets of CIPP's storage account. Elsewhere they are in the
// Key Vault that CIPP_KEY_VAULT_URI names, which the app's identity opens.
func OpenSecrets(getenv func(string) string, account *storage.Account) (*Secrets, error) {
	const setting = "CIPP_KEY_VAULT_URI"
	uri := strings.TrimSpace(getenv(setting))
	switch {
	case storage.IsDevelopment(getenv):
		return DevSecrets(account), nil
	case uri == "":
		return nil, fmt.Errorf("setting %s is missing: set it to the address of CIPP's Key Vault, for example https://<name>.vault.azure.net", setting)
	}
	credential, err := storage.Credential(getenv, "CIPP_KEY_VAULT")
	if err != nil {
		return nil, err
	}
	s, err := KeyVaultSecrets(uri, credential, nil)
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w", setting, err)
	}
	return s, nil
}

// KeyVaultSecrets reads secrets from CIPP's Key Vault, whose address is an
// https URL. The identity needs to get secrets, and for StoreNinjaOne to set
// and recover them. It calls nothing yet.
// https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret
func KeyVaultSecrets(uri string, credential azcore.TokenCredential, options *azsecrets.ClientOptions) (*Secrets, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("it is not an address of a Key Vault, which looks like https://<name>.vault.azure.net")
	}
	var o azsecrets.ClientOptions
	if options != nil {
		o = *options
	}
	o.Retry = policy.RetryOptions{MaxRetries: 2, TryTimeout: 10 * time.Second, RetryDelay: 500 * time.Millisecond, MaxRetryDelay: 5 * time.Second}
	client, err := azsecrets.NewClient("https://"+u.Host, credential, &o)
	if err != nil {
		return nil, fmt.Errorf("open CIPP's Key Vault: %w", err)
	}
	vault := newSecrets(func(ctx context.Context, name string) (string, error) {
		resp, err := client.GetSecret(ctx, name, "", nil)
		if re, ok := errors.AsType[*azcore.ResponseError](err); ok && re.StatusCode == http.StatusNotFound {
			return "", nil
		}
		if err != nil {
			return "", vaultError(err)
		}
		if resp.Value == nil {
			return "", nil
		}
		return *resp.Value, nil
	})
	writer := vaultWriter{client}
	vault.store, vault.storable = writer.store, writer.storable
	return vault, nil
}

// vaultError words a Key Vault error in one line.
func vaultError(err error) error {
	re, ok := errors.AsType[*azcore.ResponseError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("CIPP's Key Vault did not answer in time: %w", context.DeadlineExceeded)
	case !ok:
		return fmt.Errorf("CIPP's Key Vault could not be asked: %s", words.Clip(strings.Join(strings.Fields(err.Error()), " "), 300))
	case re.StatusCode == http.StatusForbidden, re.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("CIPP's Key Vault answered %d %s. Give this app's identity the role Key Vault Secrets User, or the access policy to get secrets. Check the vault's firewall", re.StatusCode, re.ErrorCode)
	}
	return fmt.Errorf("CIPP's Key Vault answered %d %s", re.StatusCode, re.ErrorCode)
}

// DevSecrets reads secrets from the table DevSecrets, which CIPP uses in place
// of a Key Vault on development storage.
func DevSecrets(account *storage.Account) *Secrets {
	table := account.Table(tableDevSecrets)
	dev := newSecrets(func(ctx context.Context, name string) (string, error) {
		row, column := devColumn(name)
		e, err := table.Find(ctx, row, row)
		if err != nil {
			return "", err
		}
		for key := range e {
			if strings.EqualFold(key, column) {
				return e.String(key), nil
			}
		}
		return "", nil
	})
	dev.store = func(ctx context.Context, name, value string) error {
		row, column := devColumn(name)
		return table.Merge(ctx, storage.Entity{"PartitionKey": row, "RowKey": row, column: value})
	}
	dev.storable = table.Changeable
	return dev
}

// devColumn is where the table DevSecrets holds a secret.
func devColumn(name string) (row, column string) {
	if name == SecretNinjaOne {
		return SecretNinjaOne, "APIKey"
	}
	return "Secret", strings.ReplaceAll(name, "-", "_")
}
