//go:build browser

package browser

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// fail puts a message where the Functions host moves one that failed too often.
func (w *world) fail(queue, tenantID string) {
	w.t.Helper()
	text := fmt.Sprintf(`{"tenantId":%q,"force":true}`, tenantID)
	if tenantID == "" {
		text = "{}"
	}
	must(w.t, w.Enqueue(w.t.Context(), queue+"-poison", text))
}

// pressFirst presses the first button of a form that leads to an action.
func (w *world) pressFirst(action, label string) {
	w.t.Helper()
	name := eval[string](w, fmt.Sprintf(`[...document.querySelectorAll('form[action$=%q] button')].map(b => b.textContent.replace(/\s+/g, " ").trim()).find(n => n.startsWith(%q)) ?? ""`, action, label))
	w.press(name)
}

func TestFailedMessages(t *testing.T) {
	w := start(t, small(), "ScheduleTenants")
	id := w.Seed.Tenant("tenant-002.example").ID
	w.fail("ninjaone-sync", id)
	w.fail("ninjaone-automap", "")
	// The tick is to tell of the messages, and to sync nothing itself.
	w.visit("/")
	w.press("Pause the schedule for all")
	w.says("The schedule is paused")
	must(t, w.Host.Invoke(t.Context(), "ScheduleTenants", "{}"))
	w.visit("/logbook?severity=error")
	w.says("The sync of tenant-002.example was not done. It failed too often")
	w.says("is now on the queue ninjaone-automap-poison")
	w.visit("/")
	w.says("2 messages failed too often")
	w.readable("failed messages")
	w.picture("failed-messages")
	w.pressFirst("/poison", "Put back")
	w.says("The message was put back.")
	w.says("1 message failed too often")
	w.pressFirst("/poison", "Remove")
	w.says("The message was removed.")
	w.saysNot("failed too often")
	// The tenant waits until its message is handled, and the page renews itself.
	w.visit("/?q=tenant-002")
	w.says("3 organization fields, 5 devices written; 0 already up to date")
}

func TestPutAllBack(t *testing.T) {
	w := start(t, small())
	for _, tenant := range w.Seed.Tenants {
		w.fail("ninjaone-sync", tenant.ID)
	}
	w.visit("/")
	w.says("3 messages failed too often")
	w.readable("many failed messages")
	w.picture("failed-messages-many")
	w.press("Put all back: queue ninjaone-sync, 3 messages")
	w.says("3 messages were put back. They are tried again within a minute.")
	w.saysNot("failed too often")
	w.says("3 in sync") // the page renews itself
	w.visit("/logbook")
	w.says("3 messages that had failed too often were put back on the queue ninjaone-sync.")
}

func TestWhoSyncs(t *testing.T) {
	w := start(t, small())
	w.visit("/")
	w.says("Held off")
	w.unfold("Give the syncs back to CIPP")
	w.readable("give back")
	w.press("Give the syncs back now")
	w.says("This app's schedule stands still.")
	w.says("By CIPP")
	w.readable("given back")
	w.picture("given-back")
	w.press("Take over from CIPP")
	w.says("a full sync of every mapped tenant was asked for")
	w.says("3 in sync")
	w.visit("/logbook")
	w.says("CIPP's own NinjaOne sync was given back")
}

// documents are those that NinjaOne shows of an organization.
func (w *world) documents(organization int) (live, archived int) {
	for _, d := range w.NinjaOne.Documents(organization) {
		if d.Archived {
			archived++
		} else {
			live++
		}
	}
	return live, archived
}

// TestDocumentsAndTheirConfirmation turns documents on, looks at what would
// become of them, lets more people leave than the brake lets pass, and confirms.
func TestDocumentsAndTheirConfirmation(t *testing.T) {
	w := start(t, seed.Generate(seed.Size{Tenants: 1, Users: 40, Devices: 4, Groups: 2}))
	id := w.Seed.Tenant("tenant-001.example").ID
	w.visit("/settings")
	for _, box := range []string{"#users", "#licenses"} {
		if !eval[bool](w, fmt.Sprintf(`document.querySelector(%q).checked`, box)) {
			w.run(chromedp.Click(chromedp.CSS(box)))
		}
	}
	w.press("Save")
	w.says("The settings were saved.")

	w.visit("/preview?view=documents&tenant=" + id)
	w.says("would be created")
	w.says("Would be created")
	w.readable("preview of documents")
	w.picture("preview-documents-first")
	w.follow(`caption ~ tbody th a`)
	w.says("User summary")
	w.readable("preview of a document")
	w.picture("preview-document")
	frames := eval[[]string](w, `[...document.querySelectorAll("iframe")].map(f => f.title + "|" + f.sandbox.value)`)
	if !slices.Contains(frames, "User summary as it would be written|") {
		t.Errorf("the document's frames: %q", frames)
	}
	if live, archived := w.documents(100); live+archived > 0 || len(w.NinjaOne.Writes()) > 0 {
		t.Error("the preview wrote something")
	}
	w.visit("/")
	w.press("Sync now: Tenant 001")
	w.says("documents written")
	before, _ := w.documents(100)

	w.M365.Tenant(id).View(func(m *m365sim.Tenant) { m.Users = m.Users[:10] })
	w.visit("/preview?fresh=1&view=documents&only=archived&tenant=" + id)
	w.says("a person must confirm it first")
	w.says("Waits for a confirmation")
	w.picture("preview-documents-held")
	w.visit("/")
	w.press("Sync now: Tenant 001")
	w.says("would be archived. Their users or licences are gone")
	if _, archived := w.documents(100); archived > 0 {
		t.Errorf("%d documents were archived without a confirmation", archived)
	}
	w.visit("/confirmations")
	w.says("would be archived")
	w.readable("confirmations")
	w.picture("confirmations")
	w.pressFirst("/confirmations", "Archive ")
	w.says("Confirmed. The tenant's next sync archives the documents.")
	w.visit("/")
	w.press("Sync now: Tenant 001")
	w.says("\n0 running or waiting")
	w.visit("/confirmations")
	w.says("Nothing waits for a confirmation.")
	if live, archived := w.documents(100); archived < 30 || live+archived != before {
		t.Errorf("%d documents are left and %d archived, of %d", live, archived, before)
	}
}

// TestChecks asks what is wrong with the deployment, and with one tenant.
func TestChecks(t *testing.T) {
	w := start(t, small())
	tenant := w.Seed.Tenant("tenant-001.example")
	tenant.Deny("DeviceManagementManagedDevices.Read.All")
	w.visit("/checks")
	w.press("Check now")
	w.says("DeviceManagementManagedDevices.Read.All")
	w.says("To do: ")
	tenant.Grant("DeviceManagementManagedDevices.Read.All")
	w.M365.RevokeTokens()
	w.run(chromedp.SetValue(chromedp.CSS("#tenant"), tenant.ID))
	w.press("Check now")
	w.says("Looked at: ")
	w.saysNot("DeviceManagementManagedDevices.Read.All")
}

// TestWithoutScript reads every page, and makes changes, in a browser that runs
// no script.
func TestWithoutScript(t *testing.T) {
	w := start(t, small())
	id := w.Seed.Tenant("tenant-001.example").ID
	w.fail("ninjaone-sync", id)
	w.run(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	shows := func(text string) chromedp.Action[chromedp.Void] {
		return chromedp.WaitVisible(fmt.Sprintf(`//main//*[contains(text(), %q)]`, text))
	}
	for path, text := range map[string]string{
		"/":                                  "1 message failed too often",
		"/organizations":                     "Tenants and their NinjaOne organizations",
		"/devices":                           "Choose a tenant to see",
		"/fields":                            "Save the field mapping",
		"/settings":                          "NinjaOne instance",
		"/logbook":                           "The lines of CIPP",
		"/confirmations":                     "Nothing waits for a confirmation.",
		"/checks":                            "Only this tenant",
		"/preview":                           "Choose a tenant",
		"/preview?tenant=" + id:              "A sync would send",
		"/preview?view=devices&tenant=" + id: "Matched devices of the tenant",
	} {
		w.visit(path)
		w.run(chromedp.WaitVisible(`//header//a[@aria-current="page"]`))
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		if _, err := chromedp.Run(ctx, chromedp.WaitReady(fmt.Sprintf(`//main[contains(., %q)]`, text))); err != nil {
			t.Errorf("%s does not say %q without script: %v", path, text, err)
		}
		cancel()
	}
	w.visit("/checks")
	w.run(chromedp.Click(chromedp.CSS("main form button")), shows("Looked at: "))
	w.visit("/")
	row := `#tenant-table tbody tr:nth-child(1) form[action$="/%s"] button`
	w.run(chromedp.Click(chromedp.CSS(fmt.Sprintf(row, "pause"))), shows("The tenant is paused"))
	w.run(chromedp.Click(chromedp.CSS(fmt.Sprintf(row, "sync"))), shows("The sync was asked for"))
	w.run(chromedp.Click(chromedp.CSS(`form[action$="/poison"] button.danger`)), shows("The message was removed."))
	w.run(chromedp.Click(chromedp.CSS("#engine ~ details summary")), chromedp.Click(chromedp.CSS(`form[action$="/engine"] button`)), shows("own sync was given back"))
	w.run(chromedp.Click(chromedp.CSS(`form[action$="/engine"] button`)), shows("is held off again"))
	w.visit("/settings")
	w.run(chromedp.Click(chromedp.CSS("#users")), chromedp.Click(chromedp.CSS("button.main")), shows("The settings were saved."))
	w.visit("/organizations")
	w.run(chromedp.Click(chromedp.CSS("button.main")), shows("There was nothing to save"))
}
