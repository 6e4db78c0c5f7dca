package notify

// For the tests on real storage, whose rows are those of package subscriptions.
var Notification, Collection = notification, collection
