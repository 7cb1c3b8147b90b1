import type { MetricKind } from '../../contracts/device.ts'

/** One row of the catalogue as it is kept in QuestDB; `column` is empty where it stands for the table itself. */
export interface CatalogueEntry {
  table: string
  column: string
  tenant: string
  type: string
  metric: string
  kind: MetricKind
}
