// What the app's identity may do in CIPP's storage account and Key Vault: no
// more than the app uses. It reads and writes tables there, and no blob or
// queue.

@description('Object id of the identity.')
param principalId string

@description('Name of the storage account of CIPP.')
param storageAccountName string

@description('Name of the Key Vault of CIPP.')
param keyVaultName string

@description('How the Key Vault decides who may read it.')
@allowed(['rbac', 'accessPolicy', 'none'])
param keyVaultPermissions string

@description('The identity may also save secrets.')
param saveSecrets bool

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var storageTableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'
var keyVaultSecretsOfficer = 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'

var vaultRole = saveSecrets ? keyVaultSecretsOfficer : keyVaultSecretsUser

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageAccountName
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: keyVaultName
}

// The whole account, because some of CIPP's tables do not exist before CIPP, or
// this app, first writes to them.
resource tables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: storage
  name: guid(storage.id, principalId, storageTableDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageTableDataContributor)
  }
}

// The whole vault, because the refresh token of each direct tenant is a secret
// of its own, named by the tenant.
resource secrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (keyVaultPermissions == 'rbac') {
  scope: vault
  name: guid(vault.id, principalId, vaultRole)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', vaultRole)
  }
}

// 'add' leaves CIPP's own policies as they are.
resource policies 'Microsoft.KeyVault/vaults/accessPolicies@2024-11-01' = if (keyVaultPermissions == 'accessPolicy') {
  parent: vault
  name: 'add'
  properties: {
    accessPolicies: [
      {
        objectId: principalId
        tenantId: tenant().tenantId
        permissions: {
          // A secret that was deleted lately has to be recovered before it can
          // be saved.
          secrets: saveSecrets ? ['get', 'set', 'recover'] : ['get']
        }
      }
    ]
  }
}
