package cipp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// vault is a Key Vault that holds NinjaOne's secret, or the deleted remains of it, and
// perhaps others.
type vault struct {
	value      string
	others     map[string]string
	refused    map[string]int // with which status the reading of another is
	deleted    bool
	recovering int // how many more tries meet the recovery
	status     int // answered to every write instead
	calls      []string
}

// Do answers without a connection, for which nobody could wait by a test's clock.
func (v *vault) Do(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	v.ServeHTTP(answer, r)
	result := answer.Result()
	result.Request = r
	return result, nil
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer vault-token" {
		w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.example/`+partner+`", resource="https://vault.azure.net"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fail := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":{"code":%q,"message":"hunter2 no"}}`, code)
	}
	call := r.Method + " " + strings.TrimSuffix(r.URL.Path, "/")
	v.calls = append(v.calls, call)
	switch call {
	case "PUT /secrets/NinjaOne":
		var body struct{ Value string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		switch {
		case v.status != 0:
			fail(v.status, "Odd")
		case v.deleted, v.recovering > 0:
			v.recovering--
			fail(http.StatusConflict, "Conflict")
		default:
			v.value = body.Value
			_, _ = w.Write([]byte(`{"id":"https://vault.example/secrets/NinjaOne/1"}`))
		}
	case "POST /deletedsecrets/NinjaOne/recover":
		if !v.deleted {
			fail(http.StatusNotFound, "SecretNotFound")
			return
		}
		v.deleted = false
		_, _ = w.Write([]byte(`{"id":"https://vault.example/secrets/NinjaOne/1"}`))
	case "GET /secrets/NinjaOne":
		_ = json.NewEncoder(w).Encode(map[string]string{"value": v.value})
	default:
		name := strings.TrimPrefix(call, "GET /secrets/")
		if value, ok := v.others[name]; ok {
			_ = json.NewEncoder(w).Encode(map[string]string{"value": value})
			return
		}
		fail(cmp.Or(v.refused[name], http.StatusNotFound), "Odd")
	}
}

// secrets are those of the vault, as an identity gets them.
func (v *vault) secrets(t *testing.T, i identity) *Secrets {
	t.Helper()
	options := &azsecrets.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: v}, DisableChallengeResourceVerification: true}
	s, err := KeyVaultSecrets("https://vault.example/", i, options)
	must(t, err)
	return s
}

func TestStoreNinjaOneInKeyVault(t *testing.T) {
	for _, tt := range []struct {
		name  string
		vault vault
		calls int
		err   string
	}{
		{"new", vault{}, 1, ""},
		{"over another", vault{value: "old"}, 1, ""},
		{"over a deleted one", vault{deleted: true}, 3, ""},
		{"over a deleted one that takes its time", vault{deleted: true, recovering: 3}, 5, ""},
		{"while somebody else recovers it", vault{recovering: 2}, 4, ""},
		{"over one that never comes back", vault{deleted: true, recovering: 1000}, 12, "still being recovered"},
		{"without the right", vault{status: http.StatusForbidden}, 1, "Key Vault Secrets Officer"},
		{"refused", vault{status: http.StatusBadRequest}, 1, "answered 400 Odd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose clock passes by itself
				s := tt.vault.secrets(t, identity{})
				old, err := s.Secret(t.Context(), SecretNinjaOne, false)
				if (err == nil) != (tt.vault.value != "") {
					t.Fatalf("before, the secret is %q, %v", old, err)
				}
				tt.vault.calls = nil
				err = s.StoreNinjaOne(t.Context(), "hunter2")
				if len(tt.vault.calls) != tt.calls {
					t.Errorf("calls were %v", tt.vault.calls)
				}
				if tt.err == "" {
					must(t, err)
					if got, err := s.Secret(t.Context(), SecretNinjaOne, false); got != "hunter2" || err != nil || tt.vault.value != "hunter2" {
						t.Errorf("afterwards the secret is %q, %v, in the vault %q", got, err, tt.vault.value)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
					t.Errorf("error is %v, want %q", err, tt.err)
				}
				if got, _ := s.Secret(t.Context(), SecretNinjaOne, false); got != old {
					t.Errorf("a secret that was not stored is used: %q", got)
				}
			})
		})
	}
}
