package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestLoadSettings(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "local.settings.json")
	if got, err := loadSettings(root, ""); err != nil || len(got) != 0 {
		t.Errorf("without a file: %v, %v, want no settings", got, err)
	}
	if _, err := loadSettings(root, file); err == nil {
		t.Error("a file named by hand may be missing")
	}
	if err := os.WriteFile(file, []byte(`{"Values": {"FUNCHOST_TEST_A": "file", "FUNCHOST_TEST_B": "file"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FUNCHOST_TEST_B", "environment")
	if got, err := loadSettings(root, ""); err != nil || !maps.Equal(got, map[string]string{"FUNCHOST_TEST_A": "file"}) {
		t.Errorf("settings = %v, %v, want those the environment does not have", got, err)
	}
}

func TestRunReportsABadAppRoot(t *testing.T) {
	if err := run(t.Context(), []string{"-root", t.TempDir(), "-listen", "127.0.0.1:0"}); err == nil {
		t.Error("a folder without host.json was run")
	}
}
