package subscriptions

import (
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/m365"
)

// sayProblem words a problem for the logbook. who are the tenants that have it.
func sayProblem(key string, who []string) string {
	slices.Sort(who)
	kind, detail, _ := strings.Cut(key, ":")
	switch kind {
	case "address":
		return "Compliance changes in Intune are not announced to this app, because it knows no public address of its own: set PUBLIC_BASE_URL. " +
			"Until then they show late, with the next sweep or sync."
	case "left":
		return fmt.Sprintf("There was no time to look after the subscriptions of %s, because Microsoft Graph answers slowly. The next hourly run goes on.",
			several(who))
	case "silent":
		return fmt.Sprintf("Microsoft Graph does not send notifications about the devices of %s, although it accepted the subscription. "+
			"Compliance changes show late, with the next sweep or sync. Check that the app's address is open to the internet.", several(who))
	case "subscription":
		return fmt.Sprintf("No notifications about the devices of %s: %s. Compliance changes show late, with the next sweep or sync.",
			several(who), m365.ExplainSubscription(detail))
	case "lapsed":
		return fmt.Sprintf("No notifications about the devices of %s: the subscription ended, and Microsoft Graph does not answer or throttles the calls "+
			"that would make a new one. Each hourly run tries again. Compliance changes show late, with the next sweep or sync.", several(who))
	case "sweep":
		return fmt.Sprintf("The compliance of devices cannot be brought up to date for %s.", several(who))
	}
	return ""
}

// several lists the first few of many.
func several(who []string) string {
	const most = 5
	if len(who) > most {
		return fmt.Sprintf("%s and %d more tenants", strings.Join(who[:most], ", "), len(who)-most)
	}
	return strings.Join(who, ", ")
}
