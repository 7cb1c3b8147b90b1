import { createHash } from 'node:crypto'
import type { DeviceTransition } from '../../contracts/device.ts'
import type { StatementSigner } from '../../contracts/statement.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import { DECOMMISSION_RECEIPT, type Job } from './job.ts'

/** What a receipt cannot promise, said in it. */
const REMAINS: Readonly<Record<Job['readings'], readonly string[]>> = {
  keep: ['stored readings, by the policy of the request', 'what is derived of them: windows, anomalies, alerts, counts of the ledger'],
  erase: [
    'raw messages in the event log until its retention removes them; they are not stored again',
    'what was derived of the readings: windows, anomalies, alerts, counts of the ledger',
    'on QuestDB: instants and sequence numbers of the emptied rows, until their partition is dropped',
  ],
  move: [
    'raw messages in the event log until its retention removes them; they are not stored again',
    'what was derived of the readings: windows, anomalies, alerts, counts of the ledger',
    'on QuestDB: instants and sequence numbers of the emptied rows, until their partition is dropped',
  ],
}

/** The statement of a receipt: who, what, when, with the result of every step. */
export function statementOf(job: Job, history: readonly DeviceTransition[], nowMs: number): Record<string, unknown> {
  const { id, kind, tenant, device, type, to, by, why, requestedAt, steps, readings } = job
  return {
    receipt: 'fleetpulse-decommission/1',
    id,
    kind,
    tenant,
    device,
    type,
    ...(to === null ? {} : { to }),
    requestedBy: by,
    ...(why === null ? {} : { why }),
    requestedAt: new Date(requestedAt).toISOString(),
    finishedAt: new Date(nowMs).toISOString(),
    // RFC 7519 §4.1.6, for verifiers that look for it.
    iat: Math.floor(nowMs / 1_000),
    steps: steps.map(({ name, startedAt, doneAt, result }) => {
      return { name, startedAt: new Date(startedAt).toISOString(), doneAt: new Date(doneAt).toISOString(), result }
    }),
    historySha256: createHash('sha256').update(canonicalJson(history)).digest('hex'),
    remains: REMAINS[readings],
  }
}

export function signReceipt(signer: StatementSigner, statement: object): Promise<string> {
  return signer.sign(DECOMMISSION_RECEIPT, statement)
}
