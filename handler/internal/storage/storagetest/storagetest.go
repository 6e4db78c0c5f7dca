// Package storagetest opens storage accounts for tests, and reads what tests left in them.
package storagetest

import (
	"testing"

	"cipp-ninjaone/handler/internal/storage"
)

// Open opens the account of a connection string.
func Open(t testing.TB, connection string) *storage.Account {
	t.Helper()
	account, err := storage.Open(func(setting string) string {
		return map[string]string{storage.Own: connection}[setting]
	}, storage.Own)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// Rows are the rows of a table that a filter lets through; "" lets all through.
func Rows(t testing.TB, table *storage.Table, filter string) (rows []storage.Entity) {
	t.Helper()
	for row, err := range table.List(t.Context(), filter) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// Blobs are the names of a container's blobs that begin with a prefix.
func Blobs(t testing.TB, container *storage.Container, prefix string) (names []string) {
	t.Helper()
	for blob, err := range container.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, blob.Name)
	}
	return names
}
