// What `bicep snapshot` is taken of (.ci/templates): all that the plan can have.
using '../main.bicep'

param appName = 'contoso-cipp-ninjaone'
param location = 'westeurope'
param plan = 'flex'
param authClientId = '00000000-0000-0000-0000-000000000001'

param cippResourceGroupName = 'rg-cipp'
param cippStorageAccountName = 'cippstgabcde'
param cippKeyVaultName = 'cippabcde'
param cippKeyVaultPermissions = 'rbac'

param alertEmail = 'alerts@contoso.example'
param packageUri = 'https://contoso.example/released-package.zip'
