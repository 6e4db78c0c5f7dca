// Everything that cipp-ninjaone needs in Azure, beside an existing CIPP.
// README.md in this folder is the guide. No resource here holds a secret: the
// app signs in everywhere with one managed identity.

targetScope = 'resourceGroup'

// ---------------------------------------------------------------- parameters

@description('Name of the function app, which is also its address: https://<name>.azurewebsites.net.')
@minLength(3) // it names the federated credential of the login, too
@maxLength(52) // '-cipp-access' makes it the name of a deployment, which may have 64
param appName string

@description('Region of all resources. Flex Consumption is not offered in every region: az functionapp list-flexconsumption-locations.')
param location string = resourceGroup().location

@description('flex: Flex Consumption. dedicated: a Linux App Service plan, where Flex Consumption is not offered or a plan exists already.')
@allowed(['flex', 'dedicated'])
param plan string = 'flex'

@description('Size of the App Service plan, B1 or larger: smaller ones are not always on. Only for the plan dedicated.')
param dedicatedSku string = 'B1'

@description('Memory of an instance in MB. 512 would not hold the Functions host and a large tenant, and not every region and API version takes it. Only for the plan flex.')
@allowed([2048, 4096])
param instanceMemoryMB int = 2048

@description('The most instances that may run at once, for HTTP and for each other function. Most regions refuse fewer than 40. SYNC_SLOTS bounds the work, over all instances. Only for the plan flex.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 100

@description('Version of the runtime custom. Only for the plan flex.')
param customRuntimeVersion string = '1.0'

@description('Client id of the Entra app registration that people log in with.')
@minLength(36)
@maxLength(36)
param authClientId string

@description('Name of the storage account of CIPP.')
param cippStorageAccountName string

@description('Name of the Key Vault of CIPP.')
param cippKeyVaultName string

@description('Resource group of the storage account and the Key Vault of CIPP. It must be another one than that of this app: when CIPP moves to its container, its script deletes all other apps there.')
param cippResourceGroupName string

@description('Subscription of that resource group.')
param cippSubscriptionId string = subscription().subscriptionId

@description('How the Key Vault of CIPP decides who may read it: az keyvault show --name <vault> --query properties.enableRbacAuthorization. none: somebody else gives the identity its rights.')
@allowed(['rbac', 'accessPolicy', 'none'])
param cippKeyVaultPermissions string

@description('Let the console save the NinjaOne client secret to the Key Vault of CIPP. Without it the secret is saved in CIPP only, and the app can only read.')
param saveSecrets bool = false

@description('Who gets a mail when an alert fires. Empty: alerts show in the Azure portal only.')
param alertEmail string = ''

@description('How long logs are kept, in days.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('The most that the logs may take in a day, in GB; -1 for no limit. What comes after that is lost until the next day, alerts included.')
param logDailyQuotaGb int = 2

@description('Address of the package to publish, such as that of a release. Empty: the package is published apart.')
param packageUri string = ''

@description('Optional settings of the app, by name.')
param settings optionalSettings = {}

@sealed()
@description('The settings of the app that have a default. README.md of the project says what they mean.')
type optionalSettings = {
  CIPP_TIMEZONE: string?
  GRAPH_AUTH: ('delegated' | 'application')?
  PUBLIC_BASE_URL: string?
  GRAPH_ENDPOINT: string?
  LOGIN_ENDPOINT: string?
  EXCHANGE_ENDPOINT: string?
  DEFENDER_ENDPOINT: string?
  NINJAONE_ENDPOINT: string?
  NINJAONE_RATE: string?
  NINJAONE_RATE_MAX: string?
  SYNC_SLOTS: string?
  SYNC_TIME_BUDGET: string?
  COMPLIANCE_SWEEP_MINUTES: string?
  WATCH_MINUTES: string?
  SKU_NAMES_URL: string?
  LOG_LEVEL: ('debug' | 'info' | 'warn' | 'error')?
  OTEL_EXPORTER_OTLP_ENDPOINT: string?
  @description('Holds a key: give a reference to a Key Vault that the identity may read, @Microsoft.KeyVault(SecretUri=...).')
  OTEL_EXPORTER_OTLP_HEADERS: string?
  OTEL_RESOURCE_ATTRIBUTES: string?
}

// ------------------------------------------------------------------ variables

var flex = plan == 'flex'
var packageContainerName = 'app-package'

// Roles built into Azure, by the ids that are the same everywhere.
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var storageBlobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var storageQueueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var storageTableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

// ------------------------------------------------------------------- identity

// One identity for everything: the Functions host, the handler, the deployment
// and the login. It is a resource of its own, so that its rights outlast the app.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${appName}-identity'
  location: location
}

// ------------------------------------------------------- the app's own storage

// Queues, leases, timers, what was synced last, and the package. Account keys
// are off, so only the identity gets in.
resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: 'st${uniqueString(resourceGroup().id, appName)}'
  location: location
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: storage
  name: 'default'
}

resource packageContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobService
  name: packageContainerName
}

// What the Functions host asks for on its own account (blobs for locks, timers
// and the package), and what the app itself keeps there.
resource ownStorageRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [storageBlobDataOwner, storageQueueDataContributor, storageTableDataContributor]: {
    scope: storage
    name: guid(storage.id, identity.id, role)
    properties: {
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

// ------------------------------------------------------------- access to CIPP

module cippAccess 'cipp-access.bicep' = {
  name: '${appName}-cipp-access'
  scope: resourceGroup(cippSubscriptionId, cippResourceGroupName)
  params: {
    principalId: identity.properties.principalId
    storageAccountName: cippStorageAccountName
    keyVaultName: cippKeyVaultName
    keyVaultPermissions: cippKeyVaultPermissions
    saveSecrets: saveSecrets
  }
}

// ----------------------------------------------------------------- monitoring

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: '${appName}-logs'
  location: location
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: logRetentionDays
    workspaceCapping: {
      dailyQuotaGb: logDailyQuotaGb
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${appName}-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource insightsRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, identity.id, monitoringMetricsPublisher)
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)
  }
}

module alerts 'alerts.bicep' = {
  name: '${appName}-alerts'
  params: {
    appName: appName
    location: location
    insightsId: insights.id
    email: alertEmail
  }
}

// ------------------------------------------------------------------- settings

var requiredSettings = {
  AzureWebJobsStorage__accountName: storage.name
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  CIPP_STORAGE__tableServiceUri: 'https://${cippStorageAccountName}.table.${environment().suffixes.storage}'
  CIPP_KEY_VAULT_URI: 'https://${cippKeyVaultName}${environment().suffixes.keyvaultDns}'
  // For the check that the app does not share CIPP's resource group.
  CIPP_RESOURCE_GROUP: cippSubscriptionId == subscription().subscriptionId ? cippResourceGroupName : ''
  // The identity that the handler signs in with to CIPP's storage and vault.
  AZURE_CLIENT_ID: identity.properties.clientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
  // The login proves itself with the identity in place of a client secret: see
  // clientSecretSettingName below.
  OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identity.properties.clientId
  WEBSITE_AUTH_AAD_ALLOWED_TENANTS: tenant().tenantId
}

// Flex Consumption has these in functionAppConfig.
var dedicatedSettings = flex
  ? {}
  : {
      FUNCTIONS_EXTENSION_VERSION: '~4'
      FUNCTIONS_WORKER_RUNTIME: 'custom'
      WEBSITE_RUN_FROM_PACKAGE: '1'
    }

// -------------------------------------------------------------------- the app

resource hostingPlan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: '${appName}-plan'
  location: location
  kind: flex ? 'functionapp' : 'linux'
  sku: flex
    ? {
        name: 'FC1'
        tier: 'FlexConsumption'
      }
    : {
        name: dedicatedSku
      }
  properties: {
    reserved: true // Linux
  }
}

// What a plan does not have is absent: some regions refuse it even when it is empty.
var flexProperties = {
  functionAppConfig: {
    runtime: {
      name: 'custom'
      version: customRuntimeVersion
    }
    deployment: {
      storage: {
        type: 'blobContainer'
        value: '${storage.properties.primaryEndpoints.blob}${packageContainerName}'
        authentication: {
          type: 'UserAssignedIdentity'
          userAssignedIdentityResourceId: identity.id
        }
      }
    }
    scaleAndConcurrency: {
      instanceMemoryMB: instanceMemoryMB
      maximumInstanceCount: maximumInstanceCount
      // Microsoft Graph waits 3 seconds for the answer to a notification,
      // holds back notifications of an app that is often late, and drops
      // them when it stays so. The start of a sleeping instance counts
      // against the 3 seconds, so one that answers HTTP never sleeps.
      alwaysReady: [
        {
          name: 'http'
          instanceCount: 1
        }
      ]
    }
  }
  siteConfig: {
    minTlsVersion: '1.2'
    scmMinTlsVersion: '1.2'
  }
}

var dedicatedProperties = {
  siteConfig: {
    minTlsVersion: '1.2'
    scmMinTlsVersion: '1.2'
    ftpsState: 'Disabled'
    // For the same 3 seconds, and for timers.
    alwaysOn: true
    // Custom handlers run on the bare image of the Functions host.
    linuxFxVersion: ''
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: appName
  location: location
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: union(
    {
      serverFarmId: hostingPlan.id
      httpsOnly: true
      keyVaultReferenceIdentity: identity.id
    },
    flex ? flexProperties : dedicatedProperties
  )
  // The package and the host's locks are read as soon as the app exists.
  dependsOn: [ownStorageRoles, packageContainer]
}

// The settings that this file sets cannot be overridden by optional ones.
resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(settings, requiredSettings, dedicatedSettings)
}

// Passwords for FTP and for the deployment site are off: deployments log in
// with Entra ID.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noDeploymentPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

// Everybody logs in, but for Microsoft Graph, which calls the one excluded path
// without a login; the handler verifies each notification itself.
resource authentication 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      excludedPaths: ['/api/ninjaone/notifications']
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: authClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
          // Not a secret: the platform takes this name as the word to use the
          // managed identity.
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
        }
        validation: {
          allowedAudiences: [authClientId, 'api://${authClientId}']
          defaultAuthorizationPolicy: {
            allowedApplications: [authClientId]
          }
        }
      }
    }
    login: {
      // The app needs no token of the people who log in.
      tokenStore: {
        enabled: false
      }
    }
  }
}

// ---------------------------------------------------------------- the package

// Flex Consumption takes a package by "one deploy" only. The types of Bicep know
// its name and not its properties.
// https://learn.microsoft.com/azure/azure-functions/functions-infrastructure-as-code#deployment-package
resource flexPackage 'Microsoft.Web/sites/extensions@2024-11-01' = if (flex && !empty(packageUri)) {
  parent: app
  name: 'onedeploy'
  #disable-next-line BCP187
  properties: {
    packageUri: packageUri
    remoteBuild: false
  }
  // An app that runs has its settings and its login.
  dependsOn: [appSettings, authentication]
}

// An App Service plan takes it by "zip deploy", whose name the types do not know.
// https://learn.microsoft.com/azure/azure-functions/functions-infrastructure-as-code#zip-deployment-package
resource dedicatedPackage 'Microsoft.Web/sites/extensions@2024-11-01' = if (!flex && !empty(packageUri)) {
  parent: app
  #disable-next-line BCP088
  name: 'ZipDeploy'
  properties: {
    packageUri: packageUri
  }
  dependsOn: [appSettings, authentication]
}

// -------------------------------------------------------------------- outputs

@description('The resource group of the app.')
output resourceGroupName string = resourceGroup().name

@description('Where the console is.')
output consoleUrl string = 'https://${app.properties.defaultHostName}/api/ninjaone/console/'

@description('What the app registration has to accept as redirect URI.')
output redirectUri string = 'https://${app.properties.defaultHostName}/.auth/login/aad/callback'

@description('Object id of the identity: the subject of the federated credential of the app registration.')
output identityPrincipalId string = identity.properties.principalId

@description('The storage account of the app itself.')
output storageAccountName string = storage.name

@description('Where logs are.')
output applicationInsightsName string = insights.name
