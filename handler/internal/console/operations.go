package console

import (
	"errors"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/poison"
)

// changeEngine gives CIPP's own engine its work back, or takes it over again.
// The logbook is told by package engine.
func (c *Console) changeEngine(x *exchange) error {
	change, notice := c.Engine.GiveBack, "givenback"
	switch x.value("to") {
	case "app":
		change, notice = c.Engine.TakeOver, "takenover"
	case "cipp":
	default:
		return c.showStatus(x, "Nothing was changed: choose who does the syncs.")
	}
	if err := change(x.ctx()); err != nil {
		return c.showStatus(x, "It was not finished; do it once more. "+sentence(err))
	}
	c.audit(x, "who does the syncs was changed on the console", "to", x.value("to"))
	return x.done("", notice, 0)
}

// settlePoison puts a message that failed too often back, or removes it.
func (c *Console) settlePoison(x *exchange) error {
	settle, notice, done := c.Poison.PutBack, "putback", "put back"
	if x.value("do") == "remove" {
		settle, notice, done = c.Poison.Remove, "removed", "removed"
	}
	m, err := settle(x.ctx(), x.value("queue"), x.value("message"))
	if errors.Is(err, poison.ErrGone) || errors.Is(err, poison.ErrUnreadable) {
		return c.showStatus(x, "Nothing was done. "+sentence(err))
	}
	if err != nil {
		return err
	}
	c.audit(x, "a message that failed too often was "+done, "queue", m.Queue, "message", m.ID, "tenant", m.TenantID)
	c.logEvent(x, cipp.LogEntry{API: "NinjaOne", Tenant: m.Tenant, TenantID: m.TenantID, Message: "A message that had failed too often was " + done + ": " + m.What})
	return x.done("", notice, 0)
}
