package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"cipp-ninjaone/handler/internal/check"
)

// checkTime bounds a check by the command, which signs in to every mapped tenant.
const checkTime = 15 * time.Minute

// errFindings says that a check ran and found problems.
var errFindings = errors.New("there are problems")

// checker puts a check together from what the app itself works with. The calls
// to NinjaOne keep to the share of people at a page.
func (a *app) checker(getenv func(string) string) *check.Checker {
	deps := check.Deps{
		Getenv:     getenv,
		Settings:   a.config,
		Own:        a.own,
		CIPP:       a.cipp,
		Secrets:    a.secrets,
		Graph:      a.reader,
		Engine:     a.hold,
		NinjaOne:   a.clientOf(a.interactive),
		Runs:       a.runs,
		Compliance: a.statuses.All,
		Assertion:  loginAssertion(getenv),
		Transport:  a.transport,
		Now:        time.Now,
	}
	for _, f := range a.queues {
		deps.Queues = append(deps.Queues, f.queue)
	}
	return check.New(deps)
}

// loginAssertion returns what asks for a token. With it, App Service authentication
// proves itself as the login's app registration: see clientSecretSettingName in
// deploy/main.bicep. It is nil where this process lacks that identity.
func loginAssertion(getenv func(string) string) func(context.Context) (string, error) {
	id := getenv("OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID")
	if id == "" || getenv("IDENTITY_ENDPOINT") == "" {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		identity, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(id)})
		if err != nil {
			return "", err
		}
		token, err := identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"api://AzureADTokenExchange/.default"}})
		return token.Token, err
	}
}

// checkCommand runs "handler check". It returns errFindings when there are
// problems, and any other error when nothing could be checked.
func checkCommand(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	tenant := flags.String("tenant", "", "")
	asJSON := flags.Bool("json", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return errors.New(usage)
	}
	getenv = withoutHost(getenv)
	a, err := open(getenv, os.Stderr, slog.LevelError)
	var report *check.Report
	if err != nil {
		report = check.SettingsOnly(getenv, err, time.Now())
	} else {
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		report, err = a.checker(getenv).Run(ctx, check.Options{Tenant: *tenant})
		if errors.Is(err, check.ErrNoTenant) {
			return fmt.Errorf("CIPP knows no tenant %q: give its id, or one of its domain names", *tenant)
		}
		if err != nil {
			return err
		}
	}
	write := report.WriteText
	if *asJSON {
		write = report.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if report.Problems > 0 {
		return errFindings
	}
	return nil
}
