import type { AuditedAct } from '../contracts/audit.ts'
import type { DeviceState, DeviceTransition } from '../contracts/device.ts'
import type { Actor } from '../contracts/registrar.ts'
import type { Update } from '../storage/documents/documents.ts'
import type { DeviceDocument } from './collections.ts'
import { actionOf, heldFromAfter } from './transitions.ts'

/** What whoever moves a device may say of it. */
export interface StepNote {
  /** For people, at most WHY_CHARACTERS_MAX. */
  why?: string
  /** Address the request came from. */
  origin?: string
}

export const WHY_CHARACTERS_MAX = 512

/** The first step: a device becomes known. */
export function firstStep(by: Actor, note: StepNote, nowMs: number): DeviceTransition {
  return { step: 1, from: null, to: 'registered', at: nowMs, by, ...noteOf(note) }
}

/** The next step of a device. */
export function nextStep(found: DeviceDocument, to: DeviceState, by: Actor, note: StepNote, nowMs: number): DeviceTransition {
  return { step: (found.history?.at(-1)?.step ?? 0) + 1, from: found.state, to, at: nowMs, by, ...noteOf(note) }
}

/**
 * State, history and what is owed to the audit trail, in one change: a crash leaves all of it or nothing. Of the history the last
 * `historyMax` steps stay, and those that the trail does not have yet.
 */
export function stepUpdate(found: DeviceDocument, step: DeviceTransition, historyMax: number, isAudited: boolean): Update {
  const heldFrom = heldFromAfter(found, step.to)
  const unaudited = isAudited ? [...(found.unaudited ?? []), step.step] : (found.unaudited ?? [])
  const history = [...(found.history ?? []), step].filter((one) => one.step > step.step - historyMax || unaudited.includes(one.step))
  return {
    $set: { state: step.to, history, unaudited, updatedAt: step.at, announced: false, ...(heldFrom === undefined ? {} : { heldFrom }) },
    $inc: { revision: 1 },
    ...(heldFrom === undefined ? { $unset: { heldFrom: '' } } : {}),
  }
}

/** A step as the audit trail keeps it. */
export function actOf(tenant: string, device: string, step: DeviceTransition): AuditedAct {
  const { by, origin, why, from, to } = step
  return {
    tenant,
    actor: by,
    action: actionOf(from, to),
    subject: { kind: 'device', id: device },
    before: { state: from },
    after: { state: to, step: step.step },
    ...(origin === undefined ? {} : { origin }),
    ...(why === null ? {} : { why }),
  }
}

function noteOf({ why, origin }: StepNote): Pick<DeviceTransition, 'why' | 'origin'> {
  return { why: why ?? null, ...(origin === undefined ? {} : { origin }) }
}
