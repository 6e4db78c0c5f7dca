// Copy this file to <your app>.bicepparam, and fill it in: see README.md.
using 'main.bicep'

param appName = 'contoso-cipp-ninjaone'
param authClientId = '00000000-0000-0000-0000-000000000000'

param cippResourceGroupName = 'rg-cipp'
param cippStorageAccountName = 'cippstgabcde'
param cippKeyVaultName = 'cippabcde'
param cippKeyVaultPermissions = 'accessPolicy' // or 'rbac'

param alertEmail = 'alerts@contoso.example'

param settings = {
  LOG_LEVEL: 'info'
}
