// As small as a template with everything that is compared.
param appName string
param packageUri string = ''

var storageBlobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var requiredSettings = {
  CIPP_KEY_VAULT_URI: 'https://${appName}.example'
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${appName}-identity'
  tags: {
    role: storageBlobDataOwner
    package: packageUri
  }
}

module alerts 'alerts.bicep' = {
  name: '${appName}-alerts'
  params: {
    settings: requiredSettings
  }
}

output principal string = identity.properties.principalId
