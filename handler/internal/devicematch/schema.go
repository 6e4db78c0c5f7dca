package devicematch

// Blobs of this package in the container ninjaone-sync: "matches/<tenant id>.json",
// a JSON object of [Matches], for each tenant that was synced.
