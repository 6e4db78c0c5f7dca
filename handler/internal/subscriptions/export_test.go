package subscriptions

// For the tests, which package triggertest puts to work.

const (
	AnnounceTime    = announceTime
	CheckEvery      = checkEvery
	KindUnavailable = kindUnavailable
	LastDay         = lastDay
	Life            = life
	SettleTime      = settleTime
)

type Subscription = subscription

var (
	Failing = failing
	RowsOf  = rowsOf
)
