export type Route =
  | { screen: 'overview' | 'devices' | 'alerts' | 'incidents' | 'conversations' | 'proposals' | 'rules' | 'maintenance' | 'routing' | 'models' | 'ledger' | 'rejected' | 'webhooks' | 'provisioning' | 'security' | 'trust' | 'api-keys' | 'audit' | 'unknown' }
  | { screen: 'device' | 'alert' | 'incident' | 'conversation' | 'webhook'; id: string }

const LISTS = {
  '': 'overview',
  devices: 'devices',
  alerts: 'alerts',
  incidents: 'incidents',
  conversations: 'conversations',
  proposals: 'proposals',
  rules: 'rules',
  maintenance: 'maintenance',
  routing: 'routing',
  models: 'models',
  ledger: 'ledger',
  rejected: 'rejected',
  webhooks: 'webhooks',
  provisioning: 'provisioning',
  security: 'security',
  trust: 'trust',
  'api-keys': 'api-keys',
  audit: 'audit',
} as const
const DETAILS = { devices: 'device', alerts: 'alert', incidents: 'incident', conversations: 'conversation', webhooks: 'webhook' } as const

/** Which screen a path names. */
export function routeOf(path: string): Route {
  const [area = '', id, ...rest] = path.split('/').filter((part) => part !== '')
  if (rest.length > 0) return { screen: 'unknown' }
  if (id === undefined) return { screen: area in LISTS ? LISTS[area as keyof typeof LISTS] : 'unknown' }
  const screen = DETAILS[area as keyof typeof DETAILS]
  const plain = decoded(id)
  return screen === undefined || plain === undefined ? { screen: 'unknown' } : { screen, id: plain }
}

export const pathOf = {
  device: (id: string, metric = '') => `/devices/${encodeURIComponent(id)}${metric === '' ? '' : `?metric=${encodeURIComponent(metric)}`}`,
  alert: (id: string) => `/alerts/${encodeURIComponent(id)}`,
  incident: (id: string) => `/incidents/${encodeURIComponent(id)}`,
  conversation: (id: string) => `/conversations/${encodeURIComponent(id)}`,
  webhook: (id: string) => `/webhooks/${encodeURIComponent(id)}`,
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}
