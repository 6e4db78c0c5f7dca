package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// field returns the definition of one of the seed's custom fields.
func field(data *seed.Seed, name string) ninjasim.CustomField {
	for _, f := range data.CustomFields {
		if f.Name == name {
			return f
		}
	}
	panic("the seed has no field " + name)
}

// TestUnusableFields breaks one field at a time in CIPP's mapping or in
// NinjaOne, and mends it again. The others must not notice.
func TestUnusableFields(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		field  string // CIPP's name
		custom string // NinjaOne's name
		line   string // of the logbook while it is broken
		broken func(w *world)
		mended func(w *world)
		whole  bool // also a second day, and once more
	}{
		{
			name: "deleted in NinjaOne", whole: true, field: "DeviceSummary", custom: "cippDeviceSummary",
			line:   `DeviceSummary is not written: its NinjaOne custom field "cippDeviceSummary" does not exist`,
			broken: func(w *world) { w.NinjaOne.RemoveCustomField("cippDeviceSummary") },
			mended: func(w *world) { w.NinjaOne.AddCustomField(field(w.Seed, "cippDeviceSummary")) },
		},
		{
			name: "wrong type", whole: true, field: "TenantSummary", custom: "cippTenantSummary",
			line: "TenantSummary is not written: the NinjaOne custom field \"cippTenantSummary\" cannot hold it, because its type is TEXT, and must be WYSIWYG",
			broken: func(w *world) {
				f := field(w.Seed, "cippTenantSummary")
				f.Type = "TEXT"
				w.NinjaOne.AddCustomField(f)
			},
			mended: func(w *world) { w.NinjaOne.AddCustomField(field(w.Seed, "cippTenantSummary")) },
		},
		{
			name: "read only", field: "DeviceCompliance", custom: "cippDeviceCompliance",
			line: `DeviceCompliance is not written: the NinjaOne custom field "cippDeviceCompliance" cannot hold it, because its API permission is READ_ONLY`,
			broken: func(w *world) {
				f := field(w.Seed, "cippDeviceCompliance")
				f.APIPermission = "READ_ONLY"
				w.NinjaOne.AddCustomField(f)
			},
			mended: func(w *world) { w.NinjaOne.AddCustomField(field(w.Seed, "cippDeviceCompliance")) },
		},
		{
			name: "wrong scope", field: "DeviceLinks", custom: "cippDeviceLinks",
			line: `DeviceLinks is not written: the NinjaOne custom field "cippDeviceLinks" cannot hold it, because it is not defined for the scope Device`,
			broken: func(w *world) {
				f := field(w.Seed, "cippDeviceLinks")
				f.DefinitionScope = []string{"ORGANIZATION"}
				w.NinjaOne.AddCustomField(f)
			},
			mended: func(w *world) { w.NinjaOne.AddCustomField(field(w.Seed, "cippDeviceLinks")) },
		},
		{
			name: "two fields mapped to one", whole: true, field: "UsersSummary", custom: "cippUsersSummary",
			line:   `UsersSummary is not written: the NinjaOne custom field "cippTenantSummary" is already mapped to TenantSummary`,
			broken: func(w *world) { w.mapField("UsersSummary", "cippTenantSummary") },
			mended: func(w *world) { w.mapField("UsersSummary", "cippUsersSummary") },
		},
	}
	data := seed.Generate(seed.Size{Tenants: len(tests), Users: 20, Devices: 12, Groups: 4}, seed.Size{Tenants: 1, Users: 10, Devices: 40, Groups: 2})
	w := start(t, data)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			domain := data.Tenants[i].DefaultDomain
			others := slices.DeleteFunc(slices.Concat(organizationFields, deviceFields), func(f string) bool { return f == tt.custom })
			tt.broken(w)
			o := w.sync(domain).completed().line("Warn: " + tt.line)
			if len(o.lines) != 2 {
				t.Errorf("the logbook got\n%s", strings.Join(o.lines, "\n"))
			}
			wrote := map[string]bool{}
			for _, write := range o.writes {
				for _, f := range write.Fields {
					wrote[f] = true
				}
			}
			if wrote[tt.custom] {
				t.Errorf("%s was written", tt.custom)
			}
			for _, f := range others {
				if !wrote[f] {
					t.Errorf("%s was not written, and nothing is wrong with it", f)
				}
			}
			if tt.whole { // It is said once a day, and the others stay quiet.
				w.sync(domain).completed().wroteNothing().quiet()
			}

			tt.mended(w)
			o = w.sync(domain).completed().line("Info: No longer a problem: " + tt.line)
			for _, write := range o.writes {
				if !slices.Equal(write.Fields, []string{tt.custom}) || len(write.Cleared) > 0 {
					t.Errorf("%s %d: %q were written, want only %s", write.Kind, write.ID, write.Fields, tt.custom)
				}
			}

			if !tt.whole {
				w.correct(domain)
				return
			}
			// The same once more, now that there are values to lose.
			tt.broken(w)
			w.sync(domain).completed().wroteNothing().line("Warn: " + tt.line)
			tt.mended(w)
			o = w.sync(domain).completed().line("Info: No longer a problem: " + tt.line)
			if len(o.writes) == 0 {
				t.Errorf("%s was not written again, and its values may be gone", tt.custom)
			}
			w.correct(domain)
			w.sync(domain).completed().wroteNothing().quiet()
		})
	}
	t.Run("refused by NinjaOne", func(t *testing.T) { testRefusedField(t, w, data.Tenants[len(tests)].DefaultDomain) })
}

// pretend makes NinjaOne list its fields as all writable, whatever they are.
func pretend(w *world) (stop func()) {
	var list []map[string]any
	for _, f := range w.Seed.CustomFields {
		list = append(list, map[string]any{"name": f.Name, "label": f.Label, "type": f.Type, "entityType": f.DefinitionScope[0],
			"definitionScope": f.DefinitionScope, "apiPermission": "READ_WRITE"})
	}
	body, err := json.Marshal(list)
	must(w.t, err)
	return w.NinjaOne.InjectFault(ninjasim.Fault{Method: "GET", Path: "^/v2/device-custom-fields$", Status: http.StatusOK, Body: string(body)})
}

// testRefusedField lets NinjaOne refuse single fields of a tenant of 40 devices that it
// lists as writable.
func testRefusedField(t *testing.T, w *world, domain string) {
	t.Cleanup(pretend(w))
	for _, name := range []string{"cippDeviceSummary", "cippTenantSummary"} {
		f := field(w.Seed, name)
		f.APIPermission = "READ_ONLY"
		w.NinjaOne.AddCustomField(f)
	}

	o := w.sync(domain).completed()
	o.line(`Warn: NinjaOne refused the custom field "cippDeviceSummary" on at least `, "devices; the first is device ")
	o.line(`Warn: NinjaOne refused the custom field "cippTenantSummary" on organization 105`, "custom_field_not_writable")
	if d := o.organization(); !slices.Equal(d, []string{"cippTenantLinks", "cippUsersSummary"}) {
		t.Errorf("the refused field's neighbours: %q were written", d)
	}
	devices := o.devices()
	if len(devices) != 40 {
		t.Errorf("%d devices were written, want 40", len(devices))
	}
	for id, fields := range devices {
		if !slices.Contains(fields, "cippDeviceLinks") || slices.Contains(fields, "cippDeviceSummary") {
			t.Errorf("device %d: %q were written", id, fields)
		}
	}
	// Every refusal costs a call per field, so it is soon given up.
	if n := o.calls["PATCH /v2/device/{id}/custom-fields"]; n > 100 {
		t.Errorf("%d calls for 40 devices", n)
	}

	again := w.sync(domain).completed()
	if n := len(again.lines); n != 1 {
		t.Errorf("the logbook got\n%s", strings.Join(again.lines, "\n"))
	}
	if len(again.writes) != 0 {
		t.Errorf("%d writes, and nothing changed but what is refused", len(again.writes))
	}

	for _, name := range []string{"cippDeviceSummary", "cippTenantSummary"} {
		w.NinjaOne.AddCustomField(field(w.Seed, name))
	}
	o = w.sync(domain).completed().line(`Info: No longer a problem: NinjaOne refused the custom field "cippDeviceSummary"`).
		line(`Info: No longer a problem: NinjaOne refused the custom field "cippTenantSummary"`)
	for id, fields := range o.devices() {
		if !slices.Equal(fields, []string{"cippDeviceSummary"}) {
			t.Errorf("device %d: %q were written, want only the field that was refused", id, fields)
		}
	}
	if n := len(o.devices()); n != 40 {
		t.Errorf("%d devices were written, want 40", n)
	}
	w.correct(domain)
	w.sync(domain).completed().wroteNothing().quiet()
}
