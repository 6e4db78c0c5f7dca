package cipp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/retry"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

const (
	// recoverPause and recoverTries bound the wait while Key Vault recovers a deleted
	// secret.
	recoverPause = 2 * time.Second
	recoverTries = 10
)

// StoreNinjaOne stores the NinjaOne API client's secret where CIPP keeps it, and uses it
// from now on. It never writes another secret of CIPP.
func (s *Secrets) StoreNinjaOne(ctx context.Context, value string) error {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	if err := s.store(ctx, SecretNinjaOne, value); err != nil {
		return fmt.Errorf("store the NinjaOne API client's secret: %w", err)
	}
	s.kept.Put(SecretNinjaOne, keptSecret{value, time.Now()})
	return nil
}

// Storable finds out whether Key Vault would allow StoreNinjaOne, and stores nothing.
func (s *Secrets) Storable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	if err := s.storable(ctx); err != nil {
		return fmt.Errorf("store the NinjaOne API client's secret: %w", err)
	}
	return nil
}

// noVersion is a version that no secret has: Key Vault draws them at random.
const noVersion = "00000000000000000000000000000000"

// storable changes the attributes of a version that does not exist. Key Vault asks for
// the right to set a secret, or for a role's action beside it:
// https://learn.microsoft.com/rest/api/keyvault/secrets/update-secret
func (v vaultWriter) storable(ctx context.Context) error {
	_, err := v.client.UpdateSecretProperties(ctx, SecretNinjaOne, noVersion, azsecrets.UpdateSecretPropertiesParameters{}, nil)
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return writeError(err)
}

// vaultWriter writes secrets to a Key Vault.
type vaultWriter struct{ client *azsecrets.Client }

// store sets a secret. It first recovers a deleted secret of that name, which else is in
// the way:
// https://learn.microsoft.com/rest/api/keyvault/secrets/set-secret
// https://learn.microsoft.com/rest/api/keyvault/secrets/recover-deleted-secret
func (v vaultWriter) store(ctx context.Context, name, value string) error {
	set := func() error {
		_, err := v.client.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &value}, nil)
		return err
	}
	err := set()
	if statusOf(err) != http.StatusConflict {
		return writeError(err)
	}
	_, recoverErr := v.client.RecoverDeletedSecret(ctx, name, nil)
	// Somebody else may be recovering it already, or have done so.
	if status := statusOf(recoverErr); recoverErr != nil && status != http.StatusConflict && status != http.StatusNotFound {
		return fmt.Errorf("recover the deleted secret: %w", writeError(recoverErr))
	}
	for try := 1; try <= recoverTries && statusOf(err) == http.StatusConflict; try++ {
		if err := retry.Sleep(ctx, recoverPause); err != nil {
			return writeError(err)
		}
		err = set()
	}
	return writeError(err)
}

func statusOf(err error) int {
	if re, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return re.StatusCode
	}
	return 0
}

// writeError words a Key Vault error in one line. The SDK's own text would
// hold the answer's body.
func writeError(err error) error {
	switch status := statusOf(err); {
	case err == nil:
		return nil
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return fmt.Errorf("CIPP's Key Vault answered %d. Save the secret in CIPP itself, or give this app's identity the role Key Vault Secrets Officer. The access policies to set and recover secrets do as well", status)
	case status == http.StatusConflict:
		return errors.New("CIPP's Key Vault holds a deleted secret of that name, which is still being recovered: save again in a minute")
	}
	return vaultError(err)
}
