package seed

// SKU is a product with the GUIDs that Microsoft gives it.
type SKU struct {
	ID, PartNumber, Name string
	Free, Trial          bool
	Plans                []Plan
}

// Plan is a service plan within a product.
type Plan struct{ ID, Name string }

var (
	planP1       = Plan{"41781fb2-bc02-4b7c-bd55-b576c07bb09d", "AAD_PREMIUM"}
	planP2       = Plan{"eec0eb4f-6444-4f95-aba0-50c24d67f998", "AAD_PREMIUM_P2"}
	planIntune   = Plan{"c1ec4a95-1f05-45b3-a911-aa3fa01094f5", "INTUNE_A"}
	planExchange = Plan{"efb87545-963c-4e0d-99df-69c6916d9eb0", "EXCHANGE_S_ENTERPRISE"}
	planMail     = Plan{"9aaf7827-d63c-4b61-89c3-182f06f82e5c", "EXCHANGE_S_STANDARD"}
	planDefender = Plan{"871d91ec-ec1a-452b-a83f-bd76c7d770ef", "WINDEFATP"}
	planDefSMB   = Plan{"bfc1bbd9-981b-4f71-9b82-17c35fd0e2a4", "MDE_SMB"}
	planTeams    = Plan{"57ff2da0-773e-42df-b2af-ffb7a2317929", "TEAMS1"}
	planFiles    = Plan{"5dbe027f-2339-4123-9542-606e4d348a72", "SHAREPOINTENTERPRISE"}
)

var (
	skuE3 = SKU{ID: "05e9a617-0261-4cee-bb44-138d3ef5d965", PartNumber: "SPE_E3", Name: "Microsoft 365 E3",
		Plans: []Plan{planP1, planIntune, planExchange, planTeams, planFiles}}
	skuPremium = SKU{ID: "cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46", PartNumber: "SPB", Name: "Microsoft 365 Business Premium",
		Plans: []Plan{planP1, planIntune, planMail, planDefSMB, planTeams}}
	skuStandard = SKU{ID: "f245ecc8-75af-4f8e-b61f-27d8114de5f3", PartNumber: "O365_BUSINESS_PREMIUM",
		Name: "Microsoft 365 Business Standard", Plans: []Plan{planMail, planTeams, planFiles}}
	skuP2 = SKU{ID: "84a661c4-e949-4bd2-a560-ed7766fcaf2b", PartNumber: "AAD_PREMIUM_P2", Name: "Microsoft Entra ID P2",
		Plans: []Plan{planP2}}
	skuDefender = SKU{ID: "111046dd-295b-4d6d-9724-d52ac90bd1f2", PartNumber: "WIN_DEF_ATP", Name: "Microsoft Defender for Endpoint",
		Plans: []Plan{planDefender}}
	skuMail = SKU{ID: "4b9405b0-7788-4568-add1-99614e613b69", PartNumber: "EXCHANGESTANDARD", Name: "Exchange Online (Plan 1)",
		Plans: []Plan{planMail}}
	skuFlow = SKU{ID: "f30db892-07e9-47e9-837c-80727f46fd3d", PartNumber: "FLOW_FREE", Name: "Microsoft Power Automate Free",
		Free: true, Plans: []Plan{{"50e68c76-46c6-4674-81f9-75456511b170", "FLOW_P2_VIRAL"}}}
	skuTrial = SKU{ID: "c5928f49-12ba-48f7-ada3-0d743a3601d5", PartNumber: "VISIOCLIENT", Name: "Visio Plan 2", Trial: true,
		Plans: []Plan{{"663a804f-1c30-4ff0-9915-9db84f0d1cea", "VISIO_CLIENT_SUBSCRIPTION"}}}
)

type roleTemplate struct{ id, name string }

var (
	roleGlobalAdmin   = roleTemplate{"62e90394-69f5-4237-9190-012177145e10", "Global Administrator"}
	roleUserAdmin     = roleTemplate{"fe930be7-5e62-47db-91af-98c3a49a38b1", "User Administrator"}
	roleExchangeAdmin = roleTemplate{"29232cdf-9323-42fd-ade2-1d097af3e4de", "Exchange Administrator"}
	roleHelpdesk      = roleTemplate{"729827e3-9c14-49f7-bb1b-9608f156bbb8", "Helpdesk Administrator"}
	roleIntuneAdmin   = roleTemplate{"3a2c62db-5318-420d-8d74-23affee5d9d5", "Intune Administrator"}
	roleReader        = roleTemplate{"f2ef992c-3afb-46b9-b7cf-a126ee74c451", "Global Reader"}
)

// Products returns what Microsoft's public file of product names says of the
// seed's products. One of them is missing from it, as a new one is from the
// real file.
func Products() []SKU {
	return []SKU{skuE3, skuPremium, skuStandard, skuP2, skuDefender, skuMail, skuFlow}
}
