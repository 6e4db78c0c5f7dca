param settings object

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'people'
  tags: settings
}
