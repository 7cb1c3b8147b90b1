import type { AuditedAct } from '../../../contracts/audit.ts'
import type { Incident } from '../../../contracts/incident.ts'
import type { ProposalKind } from '../../../contracts/proposal.ts'
import { silentLogger, type Logger } from '../../../kernel/log.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import type { Clock } from '../../../kernel/time.ts'
import type { Documents } from '../../../storage/documents/documents.ts'
import type { EventLog, LogMessage } from '../../../storage/event-log/event-log.ts'
import type { Actions } from '../actions.ts'
import { ProposalsConfigSchema, type ProposalsConfig } from '../config.ts'
import { Proposals, type Grounds } from '../proposals.ts'

export interface ProposalsWorld {
  documents: Documents
  actions: Actions
  clock: Clock
  log?: Logger
  config?: Partial<ProposalsConfig>
}

/** Proposals as one process has them, whose sweeps the test makes; with what they recorded and told. */
export async function proposalsOver({ documents, actions, clock, log = silentLogger, config = {} }: ProposalsWorld): Promise<{
  proposals: Proposals
  audit: AuditedAct[]
  told: string[]
}> {
  const audit: AuditedAct[] = []
  const told: string[] = []
  const checked = compileSchema(ProposalsConfigSchema)({ leaseMs: 50, ...config })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  const append = async (_topic: string, messages: readonly LogMessage[]): Promise<void> => {
    told.push(...messages.map(({ schema }) => String(schema)))
  }
  const proposals = new Proposals({
    ...{ documents, actions, clock, log, config: checked.value, works: false },
    eventLog: { append } as unknown as EventLog,
    auditTrail: { record: async (act) => void audit.push(act) },
  })
  await proposals.start()
  return { proposals, audit, told }
}

export const GROUNDS: ReadonlyMap<ProposalKind, Grounds> = new Map([
  ['device.quarantine', { cause: 'security.impersonation', level: 'LIKELY', evidence: ['ev_1'] }],
])

/** An incident of these devices. */
export function incidentOf(...devices: string[]): Incident {
  return { id: 'inc-1', tenant: 'default', devices, correlationId: 'c-1' } as unknown as Incident
}
