package assignments

import (
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

func TestANotificationIsNotForgottenBecauseOfASweep(t *testing.T) {
	account := storagetest.Open(t, azuritetest.ForTest(t).ConnectionString())
	s, id, now := Statuses{account.Table(azuritetest.UniqueName(t))}, "11111111-1111-4111-8111-111111111111", time.Now().UTC().Truncate(time.Second)
	long := now.Add(-time.Hour)
	save := func(change func(*Status)) {
		t.Helper()
		if err := s.NoteSweep(t.Context(), id, change); err != nil {
			t.Fatal(err)
		}
	}
	save(func(s *Status) { s.LastSweep, s.Missed, s.MissedSince = long, 5, long })
	tries := 0
	save(func(noted *Status) {
		if tries++; tries == 1 { // a notification arrives meanwhile
			if err := s.NoteHeard(t.Context(), id, now); err != nil {
				t.Fatal(err)
			}
		}
		last := noted.LastSweep
		noted.LastSweep = now
		noted.CountMissed(last, 2, now)
	})
	if s, err := s.Of(t.Context(), id); err != nil || s.Missed != 0 || !s.LastNotification.Equal(now) || !s.LastSweep.Equal(now) || tries != 2 {
		t.Errorf("after %d tries the status is %+v, %v", tries, s, err)
	}
}
