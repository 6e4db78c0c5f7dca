package console

import (
	"context"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/words"
)

type settingsPage struct {
	cipp.ExtensionConfig
	SecretStored bool
	GivenBack    bool // to CIPP's own engine
}

// settings shows the settings, and tests the connection when asked to.
func (c *Console) settings(x *exchange) error {
	problem := ""
	if x.value("test") != "" {
		ctx, cancel := context.WithTimeout(x.ctx(), time.Minute)
		defer cancel()
		if err := c.Settings.TestConnection(ctx); err != nil {
			problem = "Not connected to NinjaOne. " + words.Sentence(err.Error())
		} else {
			return x.done("settings", "connected", 0)
		}
	}
	config, err := c.CIPP.NinjaOneConfig(x.ctx())
	if err != nil {
		return err
	}
	return c.showSettings(x, problem, config)
}

func (c *Console) showSettings(x *exchange, problem string, config cipp.ExtensionConfig) error {
	given, err := c.Engine.GivenBack(x.ctx())
	if err != nil { // the page is worth more than the notice
		c.Log.WarnContext(x.ctx(), "whether the syncs were given back cannot be read", "error", err)
	}
	_, err = c.Secrets.Secret(x.ctx(), cipp.SecretNinjaOne, false)
	return c.show(x, "settings", "Settings", problem, settingsPage{config, err == nil, given})
}

func (c *Console) saveSettings(x *exchange) error {
	on := func(name string) bool { return x.value(name) == "true" }
	config := cipp.ExtensionConfig{
		Configured: true, Enabled: on("enabled"), Instance: x.value("instance"), ClientID: x.value("client"),
		LicenseDocuments: on("licenses"), UserDocuments: on("users"), LicensedOnly: on("licensed"), CVESync: on("cve"),
		CVESyncPrefix: x.r.FormValue("cveprefix"), // a space at its end counts
	}
	changes := map[string]any{
		"Enabled": config.Enabled, "Instance": config.Instance, "ClientID": config.ClientID,
		"LicenseDocumentsEnabled": config.LicenseDocuments, "UserDocumentsEnabled": config.UserDocuments,
		"LicensedOnly": config.LicensedOnly, "CveSyncEnabled": config.CVESync, "CveSyncPrefix": config.CVESyncPrefix,
	}
	if secret := x.value("secret"); secret != "" {
		changes["APIKey"] = secret
	}
	if _, err := c.Settings.SaveSettings(x.ctx(), changes); err != nil {
		return c.showSettings(x, "The settings were not saved. "+words.Sentence(err.Error()), config)
	}
	if x.value("then") == "test" {
		if err := c.Settings.TestConnection(x.ctx()); err != nil {
			return c.showSettings(x, "The settings were saved, but NinjaOne cannot be reached with them. "+words.Sentence(err.Error()), config)
		}
		return x.done("settings", "connected", 0)
	}
	return x.done("settings", "settings", 0)
}
