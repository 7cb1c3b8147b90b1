export type Route =
  | { screen: 'overview' | 'devices' | 'alerts' | 'ledger' | 'rejected' | 'webhooks' | 'provisioning' | 'unknown' }
  | { screen: 'device' | 'alert' | 'webhook'; id: string }

const LISTS = {
  '': 'overview',
  devices: 'devices',
  alerts: 'alerts',
  ledger: 'ledger',
  rejected: 'rejected',
  webhooks: 'webhooks',
  provisioning: 'provisioning',
} as const
const DETAILS = { devices: 'device', alerts: 'alert', webhooks: 'webhook' } as const

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
