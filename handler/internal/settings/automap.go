package settings

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
)

// automapWait is how long CIPP's page waits for an automap. Proxies in between allow a
// minute by default, so it is less.
const automapWait = 45 * time.Second

// automap maps the tenants that are not mapped: by name before it answers, by
// devices in the background. The answer is bare text, as CIPP's.
func (h *Handlers) automap(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	outcome, err := h.Begin(ctx, automapWait)
	if err == nil {
		err = outcome.Failed
	}
	if err != nil {
		h.Log.ErrorContext(ctx, "an automap that was asked for failed", "error", err)
		mappingFailed(w, err)
		return
	}
	h.audit(ctx, "an automap was asked for", "mapped", outcome.Mapped, "done", outcome.Done)
	if !outcome.Done { // else the lines of what was done name the person
		h.noteAutomap(ctx)
	}
	respondText(w, http.StatusOK, automapAnswer(outcome))
}

// noteAutomap tells the logbook who asked for an automap. The lines of what happens in the
// background name nobody.
func (h *Handlers) noteAutomap(ctx context.Context) {
	h.CIPP.Note(ctx, cipp.LogEntry{API: cipp.LogbookAutomap, Message: "An automap was asked for."})
}

func automapAnswer(o automap.Outcome) string {
	const later = "CIPP's Logbook tells when it is done; refresh this page then."
	switch {
	case o.Busy:
		return "AutoMapping Request has been queued: another one is under way, and this one follows. " + later
	case o.Done:
		return fmt.Sprintf("AutoMapping is done. Tenants mapped by their names: %d.", o.Mapped)
	}
	return fmt.Sprintf("AutoMapping Request has been queued. Tenants mapped by their names: %d. Matches by devices follow in the background. ", o.Mapped) + later
}
