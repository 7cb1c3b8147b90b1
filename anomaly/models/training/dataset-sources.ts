import type { Anomaly } from '../../../contracts/anomaly.ts'
import type { Feedback } from '../../../contracts/feedback.ts'
import type { SeriesStore } from '../../../storage/series/series-store.ts'
import type { ModelsConfig } from '../config.ts'
import type { Pace } from './pace.ts'

/** Where normal readings come from, and what is not normal. */
export interface DatasetSources {
  series: Pick<SeriesStore, 'range' | 'positions'>
  /** Ids of the devices of a type. */
  devicesOf: (tenant: string, type: string) => Promise<readonly string[]>
  /** Anomalies of a device that overlap a time, raised and cleared, oldest first. */
  anomaliesOf: (tenant: string, device: string, fromTs: number, toTs: number) => Promise<readonly Anomaly[]>
  labelsOf: (tenant: string, type: string) => Promise<readonly Feedback[]>
}

export interface DatasetRequest {
  tenant: string
  type: string
  config: ModelsConfig
  seed: number
  nowMs: number
  /** Reading and counting rest in between. */
  pace: Pace
}
