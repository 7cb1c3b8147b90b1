import { EVENT_SCHEMAS, latestVersion } from './event-schemas.ts'
import { EVENT_TYPES, isEventType } from './event-types.ts'

/** That a version of an event goes: said long before, and for as long both are read. */
export interface Deprecation {
  /** Day (UTC, `YYYY-MM-DD`) from which nothing of ours writes it. */
  since: string
  /** Earliest day on which it is read no more. */
  until: string
  /** `Type/version` that says the same. */
  replacedBy: string
  /** Its support has ended: it is refused, and goes to the dead letters with that cause. */
  retired: boolean
}

/** By `Type/version`. */
export type Deprecations = Readonly<Record<string, Deprecation>>

/** A version is read at least so many days after it is deprecated. */
export const SUPPORT_DAYS_MIN = 180

const since = '2026-11-22'
const until = '2027-11-22'

/** Everything that is to go. A line is added with the version that replaces it, and `retired` no earlier than `until`; see docs/events.md. */
export const DEPRECATIONS: Deprecations = {
  'AgentIntroduced/1': { since, until, replacedBy: 'AgentIntroduced/2', retired: false },
  'ManifestUpdated/1': { since, until, replacedBy: 'ManifestUpdated/2', retired: false },
  'ChatCreated/1': { since, until, replacedBy: 'ChatCreated/2', retired: false },
  'AgentStatusUpdated/1': { since, until, replacedBy: 'AgentStatusUpdated/2', retired: false },
  'SummaryPublished/1': { since, until, replacedBy: 'SummaryPublished/2', retired: false },
  'MessageSent/1': { since, until, replacedBy: 'MessageSent/2', retired: false },
}

export function deprecationOf(type: string, version: number, deprecations = DEPRECATIONS): Deprecation | null {
  const name = `${type}/${version}`
  return Object.hasOwn(deprecations, name) ? (deprecations[name] ?? null) : null
}

const DAY = /^\d{4}-\d{2}-\d{2}$/
const DAY_MS = 86_400_000

/** What is wrong with the plan; empty when each version that goes has its dates and what replaces it. `nowMs`: epoch ms. */
export function faultsOf(deprecations: Deprecations, nowMs: number): string[] {
  const faults: string[] = []
  for (const [name, { since: from, until: to, replacedBy, retired }] of Object.entries(deprecations)) {
    const version = versionOf(name)
    if (version === null) faults.push(`${name}: there is no such version`)
    else if (version === latestVersion(typeOf(name))) faults.push(`${name}: it is what is written`)
    const [fromMs, toMs] = [dayOf(from), dayOf(to)]
    if (!(toMs - fromMs >= SUPPORT_DAYS_MIN * DAY_MS)) faults.push(`${name}: not read for ${SUPPORT_DAYS_MIN} days, from ${from} to ${to}`)
    if (retired && !(toMs <= nowMs)) faults.push(`${name}: retired before ${to}`)
    const replacing = versionOf(replacedBy)
    const isGone = Object.hasOwn(deprecations, replacedBy) && deprecations[replacedBy]?.retired === true
    if (replacing === null || (typeof version === 'number' && typeOf(replacedBy) === typeOf(name) && replacing <= version) || isGone)
      faults.push(`${name}: ${replacedBy} does not replace it`)
  }
  // What an older one cannot be refused for, a newer one cannot either: readers of a version read those before it.
  for (const type of EVENT_TYPES) {
    const retired = EVENT_SCHEMAS[type].map((_schema, i) => deprecationOf(type, i + 1, deprecations)?.retired === true)
    if (retired.some((is, i) => is && retired.slice(0, i).includes(false))) faults.push(`${type}: a version is retired before an older one`)
  }
  return faults
}

function typeOf(name: string): (typeof EVENT_TYPES)[number] {
  return name.split('/')[0] as (typeof EVENT_TYPES)[number]
}

/** Null: it is not there. */
function versionOf(name: string): number | null {
  const [type = '', version] = name.split('/')
  const number = Number(version)
  return isEventType(type) && Number.isInteger(number) && number >= 1 && number <= latestVersion(type) ? number : null
}

/** NaN for what is no day. */
function dayOf(text: string): number {
  const ms = DAY.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  return Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 10) !== text ? Number.NaN : ms
}
