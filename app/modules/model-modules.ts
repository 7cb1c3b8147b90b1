import { Learning } from '../../anomaly/models/learning.ts'
import { ModelDesk } from '../../anomaly/models/model-desk.ts'
import { ModelServing } from '../../anomaly/models/serving.ts'
import type { AnomalyArchive } from '../../anomaly/anomaly-archive.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import { Peers } from '../../anomaly/peers/peers.ts'
import { StatementKey } from '../../device-registry/audit/statement-key.ts'
import type { Registry } from '../../device-registry/registry.ts'
import { NotFoundError } from '../../kernel/errors.ts'
import { systemRandom } from '../../kernel/random.ts'
import { keySealer } from '../key-sealer.ts'
import type { ModuleTable } from '../module.ts'
import { STORES } from './stores.ts'

/** Devices, and anomalies, read at once. */
const PAGE = 1_000
/** Anomalies of one device that a dataset is told of: the latest. */
const ANOMALIES_MAX = 10_000

/** States of a device that is on its way out, or out. */
const LEFT: ReadonlySet<string> = new Set(['decommissioning', 'decommissioned'])

/** The models in use, ready before the road reads its first reading. */
export const MODEL_MODULES = {
  // In the process of the registry it is the same key, in the same file; elsewhere one of its own.
  modelKey: {
    targets: ['anomaly'],
    needs: ['documents'],
    build: (context, parts) => new StatementKey({ ...context, ...parts, keySealer: keySealer(context) }),
  },
  modelServing: {
    targets: ['anomaly'],
    needs: ['documents', 'modelKey'],
    build: (context, parts) =>
      new ModelServing({ ...context, ...parts, config: context.config.models, publicKeys: () => parts.modelKey.publicKeys() }),
  },
  // In front of the road too, so that partitions that are taken know their adoptions.
  peers: {
    targets: ['anomaly'],
    needs: ['documents', 'registryView'],
    build: (context, parts) =>
      new Peers({
        ...{ ...context, ...parts, random: systemRandom, config: context.config.anomaly },
        hasLeft: (tenant, device) => LEFT.has(parts.registryView.stateOf(tenant, device) ?? ''),
      }),
  },
  modelDesk: {
    targets: ['anomaly'],
    needs: ['documents', 'registry'],
    build: (context, parts) =>
      new ModelDesk({
        ...context,
        ...parts,
        config: context.config.models,
        hasType: (tenant, type) => parts.registry.hasType(tenant, type),
      }),
  },
} satisfies Partial<ModuleTable>

/** Training and watching, behind the archive whose anomalies are no normal readings. */
export const LEARNING_MODULES = {
  learning: {
    targets: ['anomaly'],
    needs: [...STORES, 'series', 'registry', 'auditTrail', 'modelKey', 'modelServing', 'modelDesk', 'anomalyArchive'],
    build: (context, parts) =>
      new Learning({
        ...context,
        ...parts,
        ...{ desk: parts.modelDesk, serving: parts.modelServing, signer: parts.modelKey, config: context.config.models },
        alertThreshold: context.config.anomaly.alertThreshold,
        devicesOf: (tenant, type) => devicesOf(parts.registry, tenant, type),
        anomaliesOf: (tenant, device, fromTs, toTs) => anomaliesOf(parts.anomalyArchive, { tenant, device, fromTs, toTs }),
        anomaly: (tenant, id) => anomalyOrNull(parts.anomalyArchive, tenant, id),
      }),
  },
} satisfies Partial<ModuleTable>

async function devicesOf(registry: Registry, tenant: string, type: string): Promise<string[]> {
  const ids: string[] = []
  let after: string | undefined
  for (;;) {
    const { items, next } = await registry.listDevices({ tenant, type, limit: PAGE, ...(after === undefined ? {} : { after }) })
    ids.push(...items.map(({ id }) => id))
    if (next === null) return ids
    after = next
  }
}

/** Oldest first. */
async function anomaliesOf(
  archive: AnomalyArchive,
  query: { tenant: string; device: string; fromTs: number; toTs: number },
): Promise<Anomaly[]> {
  const found: Anomaly[] = []
  for (;;) {
    const last = found.at(-1)
    const after = last === undefined ? {} : { after: { ts: last.ts, id: last.id } }
    const { items, more } = await archive.list({ ...query, limit: PAGE, ...after })
    found.push(...items)
    if (!more || found.length >= ANOMALIES_MAX) return found.reverse()
  }
}

async function anomalyOrNull(archive: AnomalyArchive, tenant: string, id: string): Promise<Anomaly | null> {
  try {
    return await archive.get(tenant, id)
  } catch (error) {
    if (error instanceof NotFoundError) return null
    throw error
  }
}
