import type { Action } from '../../../contracts/authorisation.ts'

/** What a route is about and what is done to it, as the authorisation function is asked. */
export interface RouteRight {
  action: Action
  kind: string
}

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Paths whose first word is not what their right is called; the first that fits counts. */
const KINDS: readonly [path: RegExp, kind: string][] = [
  [/^\/(?:incidents|maintenance|routing|evidence|traces)\b/, 'alerts'],
  [/^\/(?:feedback|detectors)\b/, 'anomalies'],
  [/^\/certificates\/authorities\b/, 'authorities'],
  [/^\/crl-imports\b/, 'certificates'],
  [/^\/proactive-rules\b/, 'rules'],
  [/^\/proactive-(?:actions|quality)\b/, 'agents'],
]

/** What is more than writing, by method and path without what a parameter is called. */
const ACTIONS: Readonly<Record<string, RouteRight>> = {
  'POST /certificates/:/revoke': { action: 'revoke', kind: 'certificates' },
  'POST /crl-imports': { action: 'revoke', kind: 'certificates' },
  'POST /devices/:/certificates': { action: 'enrol', kind: 'certificates' },
  'POST /devices/:/decommission': { action: 'revoke', kind: 'devices' },
  'POST /devices/:/transfer': { action: 'transfer', kind: 'devices' },
  'POST /devices/:/transfer/token': { action: 'transfer', kind: 'devices' },
  'POST /enrolment-tokens': { action: 'enrol', kind: 'enrolment-tokens' },
  'POST /claims': { action: 'enrol', kind: 'claims' },
  'POST /claims/:/revoke': { action: 'revoke', kind: 'claims' },
  'POST /factory-authorities': { action: 'enrol', kind: 'factory-authorities' },
  'POST /factory-authorities/codes': { action: 'enrol', kind: 'factory-authorities' },
  'POST /factory-authorities/:/state': { action: 'enrol', kind: 'factory-authorities' },
  'DELETE /factory-authorities/:': { action: 'revoke', kind: 'factory-authorities' },
}

/**
 * The right that a route needs, asked before anything of the request is read: reading or writing what its path begins with, unless it is
 * named above. A new route is guarded without anybody thinking of it; what it asks beyond that is its own. `url` is below the API's prefix.
 */
export function rightOf(method: string, url: string, changesNothing: boolean): RouteRight {
  const named = ACTIONS[`${method} ${url.replace(/:[A-Za-z]+/g, ':')}`]
  if (named !== undefined) return named
  const kind = KINDS.find(([path]) => path.test(url))?.[1] ?? url.split('/')[1] ?? ''
  return { action: READING.has(method) || changesNothing ? 'read' : 'write', kind }
}
