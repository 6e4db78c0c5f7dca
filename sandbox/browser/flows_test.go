//go:build browser

package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

func small() *seed.Seed {
	return seed.Generate(seed.Size{Tenants: 3, Users: 8, Devices: 5, Groups: 2})
}

func TestSettings(t *testing.T) {
	w := start(t, small())
	w.visit("/settings")
	w.run(chromedp.SetValue(chromedp.CSS("#instance"), "nowhere.example"))
	w.press("Save")
	w.says("The settings were not saved.")
	w.run(chromedp.SetValue(chromedp.CSS("#instance"), "https://eu.ninjarmm.com/ws"), chromedp.SendKeys(chromedp.CSS("#secret"), "a-wrong-secret"))
	w.press("Save and test")
	w.says("does not accept the client secret")
	w.readable("settings with a problem")
	w.run(chromedp.SendKeys(chromedp.CSS("#secret"), w.Seed.Ninja.Secret), chromedp.Click(chromedp.CSS("#licensed")))
	w.press("Save and test")
	w.says("Connected to NinjaOne")
	secret, instance := w.value("#secret"), w.value("#instance")
	licensed := eval[bool](w, `document.querySelector("#licensed").checked`)
	if secret != "" || instance != "eu.ninjarmm.com" || !licensed {
		t.Errorf("the form shows %q, %q, %v", secret, instance, licensed)
	}
	w.press("Test the connection")
	w.says("Connected to NinjaOne")
}

func TestFields(t *testing.T) {
	w := start(t, small())
	for _, f := range w.NinjaOne.CustomFields() {
		if strings.HasPrefix(f.Name, "cipp") {
			w.NinjaOne.RemoveCustomField(f.Name)
		}
	}
	w.visit("/fields")
	w.says("does not exist in NinjaOne")
	w.readable("fields that are missing")
	w.picture("fields-missing")
	w.unfold("How to create them by hand")
	w.readable("fields, by hand")
	w.look("light", 360)
	w.readable("fields, by hand, on a phone")
	w.look("light", 1280)
	w.press("Create the fields for me")
	w.says("7 custom fields were created in NinjaOne, and all seven fields are mapped.")
	w.saysNot("Create the fields for me")
	if n := len(w.NinjaOne.CustomFields()); n != 10 {
		t.Errorf("NinjaOne has %d custom fields, want 10", n)
	}
	eval[int](w, `document.querySelector("#f-UsersSummary").selectedIndex = 0`)
	w.press("Save the field mapping")
	w.says("The field mapping was saved.")
	w.says("Create the fields for me")

	w.NinjaOne.RemoveCustomField("cippDeviceLinks")
	w.NinjaOne.InjectFault(ninjasim.Fault{Method: "POST", Path: "^/v2/custom-fields$", Status: 404, Body: `{"resultCode":"FAILURE"}`})
	w.press("Create the fields for me")
	w.says("cannot create custom fields through its API")
	w.says("Expand large value on render")
}

func TestStatus(t *testing.T) {
	w := start(t, small())
	w.visit("/")
	w.says("Never synced")
	w.press("Sync now: Tenant 002")
	w.says("The sync was asked for.")
	// The page renews itself.
	w.says("3 organization fields, 5 devices written")
	w.press("Pause: Tenant 003")
	w.says("The tenant is paused")
	w.press("Pause the schedule for all")
	w.says("The schedule is paused")
	w.press("Resume: Tenant 002")
	w.says("The tenant is resumed")
	w.press("Sync all tenants now")
	w.says("3 in sync")
	w.run(chromedp.SetValue(chromedp.CSS("#show"), "paused"))
	w.press("Filter")
	w.says("Tenant 003")
	w.saysNot("Tenant 002")
}

func TestOrganizations(t *testing.T) {
	data := small()
	data.Mappings = nil
	data.Organizations[2].Name = "Something else"
	w := start(t, data)
	w.visit("/organizations")
	w.says("0 tenants are mapped")
	w.press("Find organizations for all tenants without one")
	w.says("The search has ended.") // told by the script
	w.press("Show the result")
	w.says("3 tenants are mapped") // two by name, one by its devices
	id := w.Seed.Tenant("tenant-001.example").ID
	field := fmt.Sprintf(`[name="organization:%s"]`, id)
	w.run(chromedp.Clear(chromedp.CSS(field)), chromedp.SendKeys(chromedp.CSS(field), "Something else"+kb.Enter))
	w.says("1 mapping was saved.")
	if value := w.value(field); value != "Something else [102]" {
		t.Errorf("the field holds %q", value)
	}
	w.run(chromedp.Clear(chromedp.CSS(field)), chromedp.SendKeys(chromedp.CSS(field), "No such place"))
	w.press("Save the mapping")
	w.says("is not an organization of NinjaOne")
	w.run(chromedp.Clear(chromedp.CSS(field)))
	w.press("Save the mapping")
	w.says("2 tenants are mapped")
}

func TestDevicesPreviewAndLogbook(t *testing.T) {
	w := start(t, small())
	id := w.Seed.Tenant("tenant-001.example").ID
	w.visit("/preview")
	w.run(chromedp.SetValue(chromedp.CSS("#tenant"), id))
	w.press("Show")
	w.says("A sync would send")
	if len(w.NinjaOne.Writes()) > 0 {
		t.Error("the preview wrote something")
	}
	w.visit("/")
	w.press("Sync now: Tenant 001")
	w.says("3 organization fields, 5 devices written")

	w.M365.Tenant(id).View(func(m *m365sim.Tenant) {
		m.Users[0]["displayName"] = `Riley <img src=x onerror="document.title='owned'">`
	})
	w.visit("/preview?fresh=1&tenant=" + id)
	w.says("Would be rewritten")
	w.says("Riley <img src=x")
	w.readable("preview with a difference")
	w.picture("preview-difference")
	frames := eval[[]string](w, `[...document.querySelectorAll("iframe")].map(f => f.title + "|" + f.sandbox.value + "|" + (f.contentDocument === null))`)
	if len(frames) != 3 || !slices.Contains(frames, "Users as it would be written||true") {
		t.Errorf("the values' frames: %q", frames)
	}
	// The value itself: styled, and without any power.
	w.visit("/preview/value?tenant=" + id + "&field=UsersSummary&theme=dark")
	title := ask(w, chromedp.Title())
	styled := eval[bool](w, `getComputedStyle(document.body).backgroundColor === "rgb(26, 34, 42)"`)
	scripts := eval[bool](w, `document.querySelector("img, script") !== null`)
	if title != "Users" || !styled || scripts {
		t.Errorf("the value: title %q, styled %v, markup of a tenant %v", title, styled, scripts)
	}

	w.visit("/devices?tenant=" + id)
	w.says("5 matched, 0 only in Intune")
	w.says("Serial number")
	w.M365.Tenant(id).View(func(m *m365sim.Tenant) {
		for _, d := range m.ManagedDevices {
			d["complianceState"] = "noncompliant"
		}
	})
	w.visit("/preview?fresh=1&tenant=" + id)
	w.press("Devices (5, 5 to write)")
	w.readable("preview of devices")
	w.follow(`caption ~ tbody th a`)
	w.says("What differs from what was written last")
	diff := eval[[]string](w, `[...document.querySelectorAll(".diff del, .diff ins")].map(e => e.tagName + " " + e.textContent)`)
	if !slices.Contains(diff, "DEL Compliant") || !slices.Contains(diff, "INS Non-Compliant") {
		t.Errorf("the comparison says %q", diff)
	}
	w.readable("preview of a device")
	w.picture("preview-device")

	w.comesToSay("/logbook", "Synced to NinjaOne organization 100") // the line follows the run's end
	w.run(chromedp.SetValue(chromedp.CSS("#severity"), "error"))
	w.press("Filter")
	w.says("There is no line that fits the filter")
}

// value is what a field of a form holds.
func (w *world) value(selector string) string {
	w.t.Helper()
	return ask(w, chromedp.Value(chromedp.CSS(selector)))
}

// focused names what has the focus.
func (w *world) focused() string {
	w.t.Helper()
	return eval[string](w, `document.activeElement.textContent.replace(/\s+/g, " ").trim() || document.activeElement.id`)
}

// tabTo moves the focus forward until it is on something of a name. Whatever
// has the focus on the way must show it.
func (w *world) tabTo(name string) {
	w.t.Helper()
	for range 200 {
		w.run(chromedp.KeyEvent(kb.Tab))
		if !eval[bool](w, `document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
			w.t.Errorf("the focus cannot be seen on %q", w.focused())
		}
		if w.focused() == name {
			return
		}
	}
	w.t.Fatalf("the keyboard does not reach %q", name)
}

func TestKeyboard(t *testing.T) {
	w := start(t, small())
	w.visit("/")
	w.run(chromedp.KeyEvent(kb.Tab))
	if name := w.focused(); name != "Skip to the content" {
		t.Errorf("the first stop is %q", name)
	}
	w.run(chromedp.KeyEvent(kb.Enter))
	w.tabTo("Sync all tenants now")
	w.tabTo("Sync now: Tenant 001")
	w.run(chromedp.KeyEvent(kb.Enter))
	w.says("The sync was asked for.")
	w.tabTo("Fields")
	w.run(chromedp.KeyEvent(kb.Enter))
	w.says("Each of the seven fields")
	w.tabTo("Save the field mapping")
	w.run(chromedp.KeyEvent(kb.Enter))
	w.says("The field mapping was saved.")
}

// TestReadable looks at every page with a provider's tenants, odd ones among
// them, in both colour schemes and on a phone.
func TestReadable(t *testing.T) {
	data := seed.MSP()
	data.Quirks.CVESync = true
	w := start(t, data)
	w.visit("/")
	w.press("Sync all tenants now")
	w.says("\n0 running or waiting")
	for _, domain := range []string{seed.Ordinary, seed.Large, seed.SharedFirst} {
		w.visit("/vulnerabilities?q=" + domain)
		w.press("Upload now: " + w.Seed.Tenant(domain).DisplayName)
	}
	w.comesToSay("/vulnerabilities?q="+seed.Ordinary, "Imported")
	w.visit("/organizations")
	w.press("Find organizations for all tenants without one")
	w.says("The search has ended.")
	ordinary := w.Seed.Tenant(seed.Ordinary).ID
	w.fail("ninjaone-sync", ordinary)
	w.fail("ninjaone-automap", "")
	pages := map[string]string{
		"status": "/", "organizations": "/organizations", "devices": "/devices?tenant=" + w.Seed.Tenant(seed.Duplicates).ID,
		"fields": "/fields", "settings": "/settings", "logbook": "/logbook", "confirmations-none": "/confirmations",
		"checks-none": "/checks", "vulnerabilities": "/vulnerabilities", "vulnerabilities-preview": "/vulnerabilities/preview?tenant=" + ordinary,
		"preview": "/preview?tenant=" + ordinary, "preview-markup": "/preview?tenant=" + w.Seed.Tenant(seed.Markup).ID,
		"preview-devices": "/preview?view=devices&tenant=" + ordinary, "preview-documents": "/preview?view=documents&tenant=" + ordinary,
	}
	for _, look := range []struct {
		name, colours string
		width         int64
	}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"tablet", "light", 800}, {"narrow", "light", 1216}, {"phone", "light", 360}, {"phone-dark", "dark", 320}} {
		w.look(look.colours, look.width)
		for name, path := range pages {
			w.visit(path)
			eval[bool](w, `(() => { for (const d of document.querySelectorAll("details")) d.open = true; return true })()`)
			w.readable(name + ", " + look.name)
			w.picture(name + "-" + look.name)
		}
		w.visit("/checks")
		w.press("Check now")
		w.readable("checks, " + look.name)
		w.picture("checks-" + look.name)
	}
}
