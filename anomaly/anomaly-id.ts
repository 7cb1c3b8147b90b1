import { createHash } from 'node:crypto'
import type { Anomaly } from '../contracts/anomaly.ts'

const ID_CHARS = 32

/** The same reading of the same log gives the same id, however often it is processed. */
export function anomalyId(tenant: string, device: string, particulars: Omit<Anomaly, 'id' | 'tenant' | 'device' | 'type'>): string {
  const { metric, cause, phase, ts, partition, offset } = particulars
  const place = JSON.stringify([tenant, device, metric, cause, phase, ts, partition, offset])
  return createHash('sha256').update(place).digest('hex').slice(0, ID_CHARS)
}
