#!/bin/sh
# What `azd up` does before and after it creates the resources (azure.yaml). It is
# safe to repeat.
set -eu
cd "$(dirname "$0")/.."
package=out/cipp-ninjaone.zip

before() {
  test -f $package || make package
  sum=sha256sum
  command -v $sum > /dev/null || sum='shasum -a 256' # macOS
  (cd out && $sum -c cipp-ninjaone.zip.sha256)
  client=$(sh deploy/login.sh register "$AZURE_ENV_NAME")
  azd env set AUTH_CLIENT_ID "$client"
}

# The outputs of main.bicep are in the environment.
after() {
  sh deploy/login.sh trust "$(azd env get-value AUTH_CLIENT_ID)" "$AZURE_ENV_NAME" "$identityPrincipalId"
  try=1
  until az functionapp deployment source config-zip --only-show-errors --output none \
    --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$resourceGroupName" --name "$AZURE_ENV_NAME" --src $package
  do
    test $try -lt 10 || { echo "The package was not published: see Troubleshooting in deploy/README.md." >&2; exit 1; }
    echo "Publishing failed. The rights of a new identity take some minutes to count: trying again ..." >&2
    sleep "${AZD_WAIT:-60}"
    try=$((try + 1))
  done
  echo "The console: $consoleUrl"
}

"$1"
