package cipp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"cipp-ninjaone/handler/internal/storage"
)

func TestSecretsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := map[string]int{}
		var failure error
		s := newSecrets(func(_ context.Context, name string) (string, error) {
			reads[name]++
			return fmt.Sprintf("value %d", reads[name]), failure
		})
		get := func(name string, fresh bool) string {
			t.Helper()
			v, err := s.Secret(t.Context(), name, fresh)
			must(t, err)
			return v
		}
		steps := []struct {
			wait  time.Duration
			fresh bool
			want  string
		}{
			{0, false, "value 1"},
			{time.Second, false, "value 1"},
			{time.Second, true, "value 1"}, // read two seconds ago
			{8 * time.Second, true, "value 2"},
			{time.Second, true, "value 2"},
			{4 * time.Minute, false, "value 2"},
			{time.Minute, false, "value 3"},
			{time.Minute, true, "value 4"},
		}
		for i, step := range steps {
			<-time.After(step.wait)
			if got := get("a", step.fresh); got != step.want {
				t.Errorf("step %d gave %q, want %q", i, got, step.want)
			}
		}
		if got := get("b", false); got != "value 1" {
			t.Errorf("another secret is %q", got)
		}

		failure = errors.New("no answer")
		<-time.After(time.Hour)
		for range 2 {
			if v, err := s.Secret(t.Context(), "a", false); !errors.Is(err, failure) || v != "" {
				t.Errorf("got %q and %v", v, err)
			}
		}
		if reads["a"] != 6 {
			t.Errorf("a failure was kept: %d reads", reads["a"])
		}
	})
}

func TestSecretReadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecrets(func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", vaultError(ctx.Err())
		})
		if _, err := s.Secret(t.Context(), "a", false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read that hangs gave %v", err)
		}
	})
}

func TestSecretsAreNotShown(t *testing.T) {
	s := newSecrets(func(context.Context, string) (string, error) { return "hunter2", nil })
	_, err := s.Secret(t.Context(), "a", false)
	must(t, err)
	var l strings.Builder
	slog.New(slog.NewTextHandler(&l, nil)).Info("m", "secrets", s)
	slog.New(slog.NewJSONHandler(&l, nil)).Info("m", "secrets", s)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), l.String()} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	for name, tt := range map[string]struct {
		secret, value string
		want          error
	}{
		"application id":         {SecretApplicationID, "LongApplicationId", ErrNotSetUp},
		"application secret":     {SecretApplicationSecret, "AppSecret", ErrNotSetUp},
		"refresh token":          {SecretRefreshToken, " RefreshToken\n", ErrNotSetUp},
		"tenant id":              {SecretTenantID, "tenantId", ErrNotSetUp},
		"another's placeholder":  {SecretTenantID, "AppSecret", nil},
		"empty":                  {SecretApplicationID, " ", ErrNoSecret},
		"no NinjaOne secret":     {SecretNinjaOne, "", ErrNoSecret},
		"a direct tenant's none": {contoso, "", ErrNoSecret},
		"a value":                {SecretTenantID, partner, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSecrets(func(context.Context, string) (string, error) { return tt.value, nil })
			got, err := s.Secret(t.Context(), tt.secret, false)
			if !errors.Is(err, tt.want) || (err == nil && got != strings.TrimSpace(tt.value)) || (err != nil && got != "") {
				t.Errorf("got %q and %v, want %v", got, err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.secret) {
				t.Errorf("the error does not name the secret: %v", err)
			}
		})
	}
}

func TestDevSecrets(t *testing.T) {
	s, _ := newStore(t, Deps{})
	secrets := DevSecrets(s.deps.Account)
	if _, err := secrets.Secret(t.Context(), SecretTenantID, false); !errors.Is(err, ErrNoSecret) {
		t.Errorf("a missing table gave %v", err)
	}
	s.seed(t, tableDevSecrets,
		row("Secret", "Secret", "ApplicationID", "app", "applicationsecret", "secret", "TenantID", "tenantId", "RefreshToken", "token", strings.ReplaceAll(contoso, "-", "_"), "direct token"),
		row("NinjaOne", "NinjaOne", "APIKey", "ninja"))
	for name, want := range map[string]string{SecretApplicationID: "app", SecretApplicationSecret: "secret", SecretRefreshToken: "token", contoso: "direct token", SecretNinjaOne: "ninja"} {
		if got, err := secrets.Secret(t.Context(), name, false); got != want || err != nil {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if _, err := secrets.Secret(t.Context(), fabrikam, false); !errors.Is(err, ErrNoSecret) {
		t.Errorf("an unknown tenant gave %v", err)
	}
	if _, err := secrets.Secret(t.Context(), SecretTenantID, true); !errors.Is(err, ErrNotSetUp) {
		t.Errorf("a placeholder gave %v", err)
	}
}

// identity gives a fixed token.
type identity struct{ err error }

func (i identity) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "vault-token", ExpiresOn: time.Now().Add(time.Hour)}, i.err
}

func TestKeyVault(t *testing.T) {
	v := &vault{
		others:  map[string]string{SecretApplicationID: "value of " + SecretApplicationID, contoso: "value of " + contoso, SecretRefreshToken: "RefreshToken"},
		refused: map[string]int{SecretTenantID: http.StatusForbidden, SecretApplicationSecret: http.StatusConflict},
	}
	s := v.secrets(t, identity{})
	for _, name := range []string{SecretApplicationID, contoso, contoso} {
		if got, err := s.Secret(t.Context(), name, false); got != "value of "+name || err != nil {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if len(v.calls) != 2 {
		t.Errorf("the vault was asked %q", v.calls)
	}
	for name, want := range map[string]struct {
		kind error
		text string
	}{
		SecretRefreshToken: {ErrNotSetUp, "setup wizard"}, SecretNinjaOne: {ErrNoSecret, "Integrations, NinjaOne"}, fabrikam: {ErrNoSecret, fabrikam},
		SecretTenantID: {nil, "Key Vault Secrets User"}, SecretApplicationSecret: {nil, "answered 409 Odd"},
	} {
		_, err := s.Secret(t.Context(), name, false)
		if err == nil || (want.kind != nil && !errors.Is(err, want.kind)) || !strings.Contains(err.Error(), want.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %v", name, err)
		}
	}

	tokenless := v.secrets(t, identity{errors.New("managed identity:\nno token")})
	if _, err := tokenless.Secret(t.Context(), contoso, false); err == nil || !strings.Contains(err.Error(), "managed identity: no token") {
		t.Errorf("without a token the error is %v", err)
	}
}

func TestOpenSecrets(t *testing.T) {
	store, _ := newStore(t, Deps{})
	for name, tt := range map[string]struct {
		env map[string]string
		err string
	}{
		"development": {map[string]string{storage.Own: "UseDevelopmentStorage=true", "CIPP_KEY_VAULT_URI": "ignored"}, ""},
		"vault":       {map[string]string{"CIPP_KEY_VAULT_URI": "https://contoso.vault.azure.net/", "IDENTITY_ENDPOINT": "http://127.0.0.1:1"}, ""},
		"nothing":     {nil, "CIPP_KEY_VAULT_URI is missing"},
		"plain http":  {map[string]string{"CIPP_KEY_VAULT_URI": "http://contoso.vault.azure.net"}, "not an address"},
		"name alone":  {map[string]string{"CIPP_KEY_VAULT_URI": "contoso"}, "not an address"},
		"a secret":    {map[string]string{"CIPP_KEY_VAULT_URI": "https://contoso.vault.azure.net/secrets/x"}, "not an address"},
		"credential":  {map[string]string{"CIPP_KEY_VAULT_URI": "https://contoso.vault.azure.net", "CIPP_KEY_VAULT__credential": "x"}, "CIPP_KEY_VAULT__credential"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := OpenSecrets(func(n string) string { return tt.env[n] }, store.deps.Account)
			if tt.err == "" && (err != nil || s == nil) {
				t.Errorf("error is %v", err)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error is %v, want one that says %q", err, tt.err)
			}
		})
	}
}
