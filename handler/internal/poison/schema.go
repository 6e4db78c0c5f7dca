package poison

// partition has a row for each queue, by the queue's name, in the table
// NinjaOneSyncState. Columns: Version (int32); Told, a JSON object of what the logbook
// was told (text).
const partition = "poison"
