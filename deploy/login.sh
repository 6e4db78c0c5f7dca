#!/bin/sh
# The app registration that people log in with (steps 3 and 5 of README.md), with
# the Azure CLI. What exists already stays, so that it is safe to repeat.
#
#   login.sh register <app>                      prints the client id
#   login.sh trust <client id> <app> <identity>  lets it trust the app's identity
set -eu
here=$(dirname "$0")

# Nobody gets in without a role; whoever runs this becomes an editor.
register() {
  client=$(az ad app list --filter "displayName eq '$1'" --query '[].appId' --output tsv)
  case $client in
  '')
    client=$(az ad app create --display-name "$1" --sign-in-audience AzureADMyOrg \
      --web-redirect-uris "https://$1.azurewebsites.net/.auth/login/aad/callback" \
      --enable-id-token-issuance true --app-roles "@$here/app-roles.json" --query appId --output tsv)
    ;;
  *[!0-9a-f-]*)
    echo "Several app registrations are named $1: remove all but one, or choose another name." >&2
    exit 1
    ;;
  esac
  service=$(az ad sp list --filter "appId eq '$client'" --query '[].id' --output tsv)
  test -n "$service" || service=$(az ad sp create --id "$client" --query id --output tsv)
  az ad sp update --id "$service" --set appRoleAssignmentRequired=true --output none

  role=$(az ad sp show --id "$service" --query "appRoles[?value=='editor'].id" --output tsv)
  me=$(az ad signed-in-user show --query id --output tsv)
  assigned=https://graph.microsoft.com/v1.0/servicePrincipals/$service/appRoleAssignedTo
  have=$(az rest --method GET --url "$assigned" --query "value[?principalId=='$me' && appRoleId=='$role'].id" --output tsv)
  test -n "$have" || az rest --method POST --url "$assigned" --output none \
    --body "{\"principalId\":\"$me\",\"resourceId\":\"$service\",\"appRoleId\":\"$role\"}"
  echo "$client"
}

# In place of a client secret, which would expire.
trust() {
  tenant=$(az account show --query tenantId --output tsv)
  credential="{\"name\":\"$2\",\"issuer\":\"https://login.microsoftonline.com/$tenant/v2.0\",\"subject\":\"$3\",\"audiences\":[\"api://AzureADTokenExchange\"]}"
  have=$(az ad app federated-credential list --id "$1" --query "[?name=='$2'].subject" --output tsv)
  case $have in
  "$3") ;;
  '') az ad app federated-credential create --id "$1" --parameters "$credential" --output none ;;
  *) az ad app federated-credential update --id "$1" --federated-credential-id "$2" --parameters "$credential" --output none ;;
  esac
}

"$@"
