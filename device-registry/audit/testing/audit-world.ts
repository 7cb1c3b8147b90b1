import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { AuditedAct } from '../../../contracts/audit.ts'
import { silentLogger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { seededRandom } from '../../../kernel/random.ts'
import { VirtualClock, type Clock } from '../../../kernel/time.ts'
import type { Documents } from '../../../storage/documents/documents.ts'
import { documentsIn } from '../../../storage/documents/testing/lmdb-fixture.ts'
import type { ExportedRecord } from '../audit-query.ts'
import { Checkpoints } from '../checkpoints.ts'
import { auditConfig, type AuditConfig } from '../config.ts'
import { StatementKey } from '../statement-key.ts'
import { Trail } from '../trail.ts'
import { AuditVerifier, type AuditReport } from '../verifier.ts'

export const TENANT = 'default'

/** A trail over real documents, with its key and checkpoints; time moves only when told. */
export interface AuditWorld {
  folder: string
  documents: Documents
  clock: Clock
  virtual: VirtualClock
  trail: Trail
  key: StatementKey
  checkpoints: Checkpoints
  /** Another process over the same documents. */
  another(): Promise<Trail>
  records(): Promise<ExportedRecord[]>
}

export async function openWorld(t: TestContext, changes: Partial<AuditConfig> = {}): Promise<AuditWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-audit-'))
  const documents = documentsIn(join(folder, 'documents'))
  await documents.start()
  const virtual = new VirtualClock()
  const config = auditConfig(changes)
  const common = { documents, clock: virtual, log: silentLogger, random: seededRandom(5), auditConfig: config }
  const trails: Trail[] = []
  const another = async (): Promise<Trail> => {
    const trail = new Trail({ ...common, metrics: new Metrics() })
    await trail.start()
    trails.push(trail)
    return trail
  }
  const trail = await another()
  const key = new StatementKey({ dataDirectory: folder, documents, clock: virtual })
  await key.start()
  const checkpoints = new Checkpoints({ ...common, signer: key, trail, dataDirectory: folder })
  await checkpoints.start()
  t.after(async () => {
    await checkpoints.stop()
    for (const each of trails) await each.stop()
    await documents.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const records = async (): Promise<ExportedRecord[]> => {
    const all: ExportedRecord[] = []
    for await (const record of trail.records(TENANT)) all.push(record)
    return all
  }
  return { folder, documents, clock: virtual, virtual, trail, key, checkpoints, another, records }
}

export function act(device: string, changes: Partial<AuditedAct> = {}): AuditedAct {
  return {
    tenant: TENANT,
    actor: 'user:admin',
    action: 'device.suspend',
    subject: { kind: 'device', id: device },
    before: { state: 'active' },
    after: { state: 'suspended' },
    ...changes,
  }
}

export async function verified(
  world: Pick<AuditWorld, 'key'>,
  records: readonly ExportedRecord[],
  known: readonly string[] = [],
): Promise<AuditReport> {
  const verifier = new AuditVerifier(await world.key.publicKeys())
  for (const jws of known) await verifier.takeCheckpoint(jws)
  for (const record of records) {
    if (record.kind === 'entry') verifier.takeEntry(record.entry)
    else await verifier.takeCheckpoint(record.jws)
  }
  return verifier.finish()
}
