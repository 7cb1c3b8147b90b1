import { Type, type Static } from 'typebox'

export const AlertStateSchema = Type.Union([Type.Literal('open'), Type.Literal('acknowledged'), Type.Literal('resolved')])
export type AlertState = Static<typeof AlertStateSchema>

export const AlertHistoryEntrySchema = Type.Object({
  at: Type.Integer(),
  /** `device:ID`, `user:NAME`, `api-key:ID` or `system`. */
  by: Type.String(),
  action: Type.Union([Type.Literal('opened'), Type.Literal('repeated'), Type.Literal('acknowledged'), Type.Literal('resolved'), Type.Literal('silenced'), Type.Literal('severity-changed')]),
  note: Type.Optional(Type.String()),
})
export type AlertHistoryEntry = Static<typeof AlertHistoryEntrySchema>

/** One alert; there is at most one that is not resolved per fingerprint (tenant, device, metric, cause). */
export const AlertSchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  fingerprint: Type.String(),
  device: Type.String(),
  type: Type.String(),
  metric: Type.String(),
  cause: Type.String(),
  state: AlertStateSchema,
  severity: Type.Union([Type.Literal('warning'), Type.Literal('critical')]),
  title: Type.String(),
  /** Event time of the first anomaly, epoch ms. */
  startedAt: Type.Integer(),
  openedAt: Type.Integer(),
  updatedAt: Type.Integer(),
  resolvedAt: Type.Union([Type.Integer(), Type.Null()]),
  silencedUntil: Type.Union([Type.Integer(), Type.Null()]),
  /** Anomalies gathered so far and the worst of them. */
  anomalyCount: Type.Integer(),
  maxScore: Type.Number(),
  /** Ids of the first and the latest anomaly: the evidence. */
  firstAnomalyId: Type.String(),
  lastAnomalyId: Type.String(),
  /** The explanation of the anomaly that opened it. */
  explanation: Type.Unknown(),
  correlationId: Type.String(),
  /** Latest entries first; bounded, the number dropped is counted. */
  history: Type.Array(AlertHistoryEntrySchema),
  historyDropped: Type.Integer(),
})
export type Alert = Static<typeof AlertSchema>

/** On topic `alerts` (schema `alert/1`): the alert after the change, and what changed. */
export interface AlertChange {
  /** `${alert.id}-${sequence}`: names this change; whoever sees it twice has seen a redelivery. */
  id: string
  /** 1 for `opened`; grows by one with each published change of the alert, so that consumers can order them. */
  sequence: number
  change: 'opened' | 'repeated' | 'acknowledged' | 'resolved' | 'silenced' | 'severity-changed'
  alert: Alert
}
export const ALERT = 'alert/1'
