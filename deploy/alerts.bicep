// Alerts on what needs a person. Each rests on a line that the handler writes
// while the cause lasts (handler/internal/alarm), or on the host's record of
// invocations, so that an alert resolves itself when the cause is gone.
//
// The Functions host passes each line of the handler on as a trace whose message
// is the line. Sampling may drop some; the next look writes the line again.

@description('Name of the function app.')
param appName string

@description('Region of the rules.')
param location string

@description('Resource id of Application Insights.')
param insightsId string

@description('Who gets a mail; empty for nobody.')
param email string

// lines: how many lines within the window fire the alert.
var lineRules = [
  {
    alarm: 'poison_messages'
    title: 'messages failed too often'
    description: 'Messages failed as often as they may and were put aside: work was not done. The status page of the console says which it was, and puts them back.'
    severity: 2
    every: 'PT15M'
    window: 'PT30M'
    lines: 1
  }
  {
    alarm: 'queue_waiting'
    title: 'work waits too long'
    description: 'The oldest message of a queue waits longer than it should: the app is stopped, starts no instances, or NinjaOne or Microsoft throttle it.'
    severity: 2
    every: 'PT15M'
    window: 'PT1H'
    lines: 2
  }
  {
    alarm: 'tenants_overdue'
    title: 'tenants not synced for 26 hours'
    description: 'Mapped tenants that are not paused had no complete sync for 26 hours. The line holds their ids; the console and the logbook of CIPP say why.'
    severity: 2
    every: 'PT15M'
    window: 'PT1H'
    lines: 2
  }
  {
    alarm: 'subscriptions_failing'
    title: 'subscriptions at Microsoft Graph fail'
    description: 'Subscriptions to changes of devices cannot be made or renewed, tried again each hour. Compliance changes are found by the sweep meanwhile, some minutes late.'
    severity: 3
    every: 'PT1H'
    window: 'PT6H'
    lines: 3
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: '${appName}-alerts'
  location: 'global'
  properties: {
    enabled: true
    groupShortName: 'cipp-ninja'
    emailReceivers: [
      {
        name: 'mail'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

var actionGroups = empty(email) ? [] : [people.id]

resource lineAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in lineRules: {
    name: '${appName}-${replace(rule.alarm, '_', '-')}'
    location: location
    properties: {
      displayName: '${appName}: ${rule.title}'
      description: rule.description
      severity: rule.severity
      enabled: true
      evaluationFrequency: rule.every
      windowSize: rule.window
      scopes: [insightsId]
      // Right after the deployment nothing has been logged that it could be tried on.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: 'traces | where message contains \'"alarm":"${rule.alarm}"\''
            timeAggregation: 'Count'
            operator: 'GreaterThanOrEqual'
            threshold: rule.lines
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      autoMitigate: true
      actions: {
        actionGroups: actionGroups
      }
    }
  }
]

// Without a tick that succeeds there is nothing that could write a line: the
// app is stopped, cannot start, or cannot reach its storage or CIPP's. The
// host's records of invocations are not sampled (host.json).
resource silenceAlert 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${appName}-silent'
  location: location
  properties: {
    displayName: '${appName}: nothing is scheduled'
    description: 'ScheduleTenants, which runs every 15 minutes, did not succeed for an hour. Its failures in Application Insights say why; without any record the app does not run.'
    severity: 1
    enabled: true
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    scopes: [insightsId]
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: 'requests | where name == \'ScheduleTenants\' and tobool(success)'
          timeAggregation: 'Count'
          operator: 'LessThan'
          threshold: 1
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: actionGroups
    }
  }
}
