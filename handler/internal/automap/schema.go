package automap

// Blobs of this package in the container ninjaone-sync. An automap writes them under its
// lease.
const (
	// reportBlob is a JSON object of [Report]: how the last automap ended.
	reportBlob = "automap/suggestions.json"
	// progressBlob is a JSON object of [Progress]: what an automap under way has done.
	progressBlob = "automap/progress.json"
	// indexBlob is a JSON object of [storedIndex]: NinjaOne's devices by serial number.
	indexBlob = "automap/devices.json"
	// leaseBlob is empty: the lease of the automap.
	leaseBlob = "lease/automap"
)
