import { Type, type Static } from 'typebox'
import { DEVICE_ID_PATTERN, TENANT_PATTERN } from '../../contracts/device.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'

/** The way out, in order; `admit` leads on in another tenant, where there is one. */
export const STEPS = ['lock', 'cancel', 'wipe', 'revoke', 'readings', 'forget', 'tombstone', 'admit', 'receipt'] as const
export type StepName = (typeof STEPS)[number]

const StepNameSchema = Type.Unsafe<StepName>({ type: 'string', enum: [...STEPS] })

export const HistoryRuleSchema = Type.Union([Type.Literal('keep'), Type.Literal('erase'), Type.Literal('move')])
/** What becomes of the stored readings: they stay where they are, are erased, or move to the other tenant. */
export type HistoryRule = Static<typeof HistoryRuleSchema>

/** A step that is done: its result says what was found and done, with counts. */
export const DoneStepSchema = Type.Object({
  name: StepNameSchema,
  startedAt: Type.Integer({ description: 'epoch ms' }),
  doneAt: Type.Integer({ description: 'epoch ms' }),
  result: Type.Record(Type.String(), Type.Unknown()),
})
export type DoneStep = Static<typeof DoneStepSchema>

/** How far a device is on its way out. */
export const JobSchema = Type.Object({
  id: Type.String(),
  kind: Type.Union([Type.Literal('decommission'), Type.Literal('transfer')]),
  tenant: Type.String({ pattern: TENANT_PATTERN }),
  device: Type.String({ pattern: DEVICE_ID_PATTERN }),
  type: Type.String(),
  /** Where it goes on, when it is a transfer. */
  to: Type.Union([
    Type.Object({ tenant: Type.String({ pattern: TENANT_PATTERN }), device: Type.String({ pattern: DEVICE_ID_PATTERN }) }),
    Type.Null(),
  ]),
  readings: HistoryRuleSchema,
  wipe: Type.Boolean(),
  wipeTimeoutMs: Type.Integer(),
  by: Type.String(),
  why: Type.Union([Type.String(), Type.Null()]),
  requestedAt: Type.Integer({ description: 'epoch ms' }),
  state: Type.Union([Type.Literal('running'), Type.Literal('done')]),
  /** What is being done now; the last one when all is done. */
  step: StepNameSchema,
  stepStartedAt: Type.Integer({ description: 'epoch ms' }),
  steps: Type.Array(DoneStepSchema),
  trouble: Type.Union([Type.String(), Type.Null()], { description: 'why the present step does not go on now; it is tried again' }),
})
export type JobView = Static<typeof JobSchema>

/** An answer to the wipe command. */
export interface WipeAnswer {
  at: number
  /** What the device says of it; `acknowledged` unless it says that it failed. */
  status: 'acknowledged' | 'failed'
  /** Of the payload. */
  sha256: string
}

/** What is kept of a job beside its view. */
export interface Job extends JobView {
  origin: string | null
  /** How far the present step is. */
  progress: Record<string, unknown>
  answer: WipeAnswer | null
  receipt: string | null
}

export type StoredJob = Job & Stored

/** The id of a document is tenant and device: a device leaves once. */
export function openJobs(documents: Documents): Promise<Collection<Job>> {
  return documents.collection<Job>({ name: 'decommissions', indexes: [{ name: 'by-state', paths: ['state', 'requestedAt'] }] })
}

export function viewOf(job: StoredJob): JobView {
  const { origin: _origin, progress: _progress, answer: _answer, receipt: _receipt, _id, version: _version, ...view } = job
  return view
}

export function wipeCommandId(job: Job): string {
  return `wipe-${job.id}`
}

/** Statement type of a receipt, `typ` of its JWS. */
export const DECOMMISSION_RECEIPT = 'fleetpulse-decommission-receipt+jws'
