package console

import (
	"errors"
	"fmt"
	"strconv"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/poison"
	"cipp-ninjaone/handler/internal/words"
)

// changeEngine gives CIPP's own engine its work back, or takes it over again. Package
// engine tells the logbook.
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
		return c.showStatus(x, "It was not finished; do it once more. "+words.Sentence(err.Error()))
	}
	c.audit(x, "who does the syncs was changed on the console", "to", x.value("to"))
	return x.done("", notice, 0)
}

// settlePoison puts a message that failed too often back, or removes it.
func (c *Console) settlePoison(x *exchange) error {
	if x.value("do") == "all" {
		return c.putAllBack(x)
	}
	settle, notice, done := c.Poison.PutBack, "putback", "put back"
	if x.value("do") == "remove" {
		settle, notice, done = c.Poison.Remove, "removed", "removed"
	}
	m, err := settle(x.ctx(), x.value("queue"), x.value("message"))
	if errors.Is(err, poison.ErrGone) || errors.Is(err, poison.ErrUnreadable) {
		return c.showStatus(x, "Nothing was done. "+words.Sentence(err.Error()))
	}
	if err != nil {
		return err
	}
	c.audit(x, "a message that failed too often was "+done, "queue", m.Queue, "message", m.ID, "tenant", m.TenantID)
	c.CIPP.Note(x.ctx(), cipp.LogEntry{API: "NinjaOne", Tenant: m.Tenant, TenantID: m.TenantID, Message: "A message that had failed too often was " + done + ": " + m.What})
	return x.done("", notice, 0)
}

// putAllBack puts the messages of a queue back that failed too often, as many
// as there is time for.
func (c *Console) putAllBack(x *exchange) error {
	queue := x.value("queue")
	back, left, err := c.Poison.PutBackAll(x.ctx(), queue)
	if back > 0 {
		c.audit(x, "messages that failed too often were put back", "queue", queue, "messages", back, "left", left)
		c.CIPP.Note(x.ctx(), cipp.LogEntry{API: "NinjaOne", Message: fmt.Sprintf("%s put back on the queue %s.", plural(back, "message that had failed too often was", "messages that had failed too often were"), queue)})
	}
	switch {
	case err != nil && back > 0:
		return c.showStatus(x, fmt.Sprintf("%s put back, and the others were not: do it once more. %s", plural(back, "message was", "messages were"), words.Sentence(err.Error())))
	case errors.Is(err, poison.ErrGone) || err == nil && back == 0 && left == 0:
		return c.showStatus(x, "Nothing was done. The messages are gone: somebody put them back or removed them, or they expired.")
	case err != nil:
		return err
	case back == 0:
		return c.showStatus(x, "Nothing was done. The messages that are left cannot be read, or somebody else puts them back at the moment.")
	}
	more := ""
	if left > 0 {
		more = strconv.Itoa(left)
	}
	return x.done("", "putallback", back, "left", more)
}
