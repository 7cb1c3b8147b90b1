import { createHash } from 'node:crypto'
import { auditScope, type AuditedAct } from '../../contracts/audit.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import type { LooseEntry } from './chain.ts'

/** Longest texts of an entry, in characters: what a caller chooses must not fill the disk. */
const TEXT_MAX = { actor: 200, origin: 100, action: 100, kind: 64, id: 256, device: 64, why: 1_000, correlationId: 128 } as const
/** Characters of `before` or `after`; beyond it only a fingerprint is kept. */
const CHANGE_CHARACTERS_MAX = 4_096
const SECRET_NAME = /secret|token|password|passphrase|private_?key|authorization|cookie|api_?key/i
const MASK = '[masked]'

/** An act as it may be kept: plain JSON, bounded, without secrets, and with what the request around it knows. */
export function looseEntry(act: AuditedAct, nowMs: number): LooseEntry {
  const scope = auditScope.getStore()
  const origin = act.origin ?? scope?.origin
  const correlationId = act.correlationId ?? scope?.correlationId
  return {
    tenant: act.tenant,
    at: nowMs,
    actor: text(act.actor, TEXT_MAX.actor),
    ...(origin === undefined ? {} : { origin: text(origin, TEXT_MAX.origin) }),
    action: text(act.action, TEXT_MAX.action),
    subject: { kind: text(act.subject.kind, TEXT_MAX.kind), id: text(act.subject.id, TEXT_MAX.id) },
    ...(act.device === undefined ? {} : { device: text(act.device, TEXT_MAX.device) }),
    outcome: act.outcome ?? 'done',
    ...(act.why === undefined ? {} : { why: text(act.why, TEXT_MAX.why) }),
    ...change('before', act.before),
    ...change('after', act.after),
    ...(act.count === undefined ? {} : { count: act.count }),
    ...(correlationId === undefined ? {} : { correlationId: text(correlationId, TEXT_MAX.correlationId) }),
  }
}

/** Half surrogate pairs become U+FFFD: no store keeps them, and they have no canonical form. */
function text(value: string, charactersMax: number): string {
  return Buffer.from(value.slice(0, charactersMax)).toString('utf8')
}

function change(name: 'before' | 'after', value: unknown): { before?: unknown; after?: unknown } {
  if (value === undefined) return {}
  const plain: unknown = JSON.parse(wellFormed(JSON.stringify(value, masked) ?? 'null'))
  const written = canonicalJson(plain)
  if (written.length <= CHANGE_CHARACTERS_MAX) return { [name]: plain }
  return { [name]: { leftOut: 'too long', characters: written.length, sha256: createHash('sha256').update(written).digest('hex') } }
}

function masked(name: string, value: unknown): unknown {
  return SECRET_NAME.test(name) && value !== null && typeof value !== 'boolean' && typeof value !== 'number' ? MASK : value
}

/** JSON.stringify writes half a pair as an escape. */
function wellFormed(json: string): string {
  return json.replace(/(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/gi, '$1\ufffd')
}
