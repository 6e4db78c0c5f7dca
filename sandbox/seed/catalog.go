package seed

// Products returns what Microsoft's public file of product names says of the
// seed's products. One of them is missing from it, as a new one is from the
// real file.
func Products() []SKU {
	return []SKU{skuE3, skuPremium, skuStandard, skuP2, skuDefender, skuMail, skuFlow}
}
