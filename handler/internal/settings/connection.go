package settings

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// testTimeout bounds a test of the connection: a person waits for it.
const testTimeout = 60 * time.Second

// test is CIPP's ExecExtensionTest. Its status is 200 in any case.
func (h *Handlers) test(_ http.ResponseWriter, r *http.Request) (any, error) {
	if !isNinjaOne(query(r, "extensionName")) {
		return results("Failed: this app can test NinjaOne only. Test other extensions in CIPP itself."), nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	return results("Successfully Connected to NinjaOne"), h.TestConnection(ctx)
}

// TestConnection reads organizations and custom fields with the settings that
// CIPP holds and the secret that is stored now. The error says in a sentence for
// a person which setting is wrong and what to do.
func (h *Handlers) TestConnection(ctx context.Context) error {
	config, err := h.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return err
	}
	connect := h.Connect
	if connect.Instance, err = ninjaone.NormalizeInstance(config.Instance); err != nil {
		return err
	}
	if connect.ClientID = config.ClientID; connect.ClientID == "" {
		return errors.New("the client ID is not set: enter the one of the API application in NinjaOne (Administration, Apps, API)")
	}
	connect.Gate = ninjaone.NewGate()
	var secretErr error
	connect.Secret = func(ctx context.Context, _ bool) (string, error) {
		secret, err := h.Secrets.Secret(ctx, cipp.SecretNinjaOne, true)
		secretErr = err
		return secret, err
	}
	client, err := ninjaone.New(connect)
	if err != nil {
		return err
	}
	err = client.Test(ctx)
	if err != nil && secretErr != nil {
		return secretErr
	}
	return explain(client, err)
}

// explain says in a sentence for a person which of the settings an error of a call is
// about.
func explain(client *ninjaone.Client, err error) error {
	what, action := client.Explain(err)
	var answer *ninjaone.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the instance " + client.Instance() + " did not answer in time: try again, and check the instance if it stays so")
	case errors.Is(err, ninjaone.ErrForbidden), errors.Is(err, ninjaone.ErrNotJSON):
		return errors.New(what + ": " + action + ". The answer: " + err.Error())
	case what != "":
		return errors.New(what + ": " + action)
	case !errors.As(err, &answer):
		return errors.New("the instance " + client.Instance() + " cannot be reached: check the instance and the app's network. The reason: " + err.Error())
	}
	return err
}
