import { CRL_REASONS, type CrlReason } from '../../contracts/certificate.ts'
import type { DeviceEvent } from '../../contracts/device-event.ts'
import { DeviceStateSchema } from '../../contracts/device.ts'
import type { ConfigFault } from '../../kernel/errors.ts'

/** What a rule looks for in what is told of a device, and why it then revokes. */
export interface RevocationRule {
  /** As it is configured, for the record. */
  text: string
  of: 'state' | 'finding'
  name: string
  reason: CrlReason
}

const RULE = /^(state|finding)\/([a-z][a-z0-9-]*)=([A-Za-z]+)$/
const STATES: readonly string[] = DeviceStateSchema.anyOf.map((literal) => literal.const)

/** Reads `state/decommissioned=cessationOfOperation`; undefined for what is none, see `ruleFaults`. */
export function readRule(text: string): RevocationRule | undefined {
  const [, of, name, reason] = RULE.exec(text) ?? []
  if (name === undefined || reason === undefined || !isReason(reason)) return undefined
  if (of === 'state') return STATES.includes(name) ? { text, of, name, reason } : undefined
  return of === 'finding' ? { text, of, name, reason } : undefined
}

/** What is wrong with the rules; `key` is their dotted path. */
export function ruleFaults(rules: readonly string[], key: string): ConfigFault[] {
  const allowed = `state/STATE=REASON or finding/CHECK=REASON; states: ${STATES.join(', ')}; reasons: ${Object.keys(CRL_REASONS).join(', ')}`
  return rules.filter((text) => readRule(text) === undefined).map((text) => ({ key, problem: `"${text}" is not a rule`, allowed }))
}

/** The first rule that an event meets. */
export function ruleFor(rules: readonly RevocationRule[], event: DeviceEvent): RevocationRule | undefined {
  if (event.event === 'device-changed') return rules.find(({ of, name }) => of === 'state' && name === event.state)
  if (event.event === 'finding-opened') return rules.find(({ of, name }) => of === 'finding' && name === event.check)
  return undefined
}

function isReason(text: string): text is CrlReason {
  return Object.hasOwn(CRL_REASONS, text)
}
