import { Type } from 'typebox'
import { compileSchema } from '../../kernel/schema.ts'
import {
  identityOf,
  labelsInOrder,
  LABELS_MAX,
  NAME_LENGTH_MAX,
  plainLabels,
  plainLine,
  severityOf,
  spanOfTrouble,
  TEXT_LENGTH_MAX,
  type ReadAlert,
} from './external-alert.ts'

/** Longer texts are refused; what is kept of them is shorter yet. */
const Text = Type.String({ maxLength: 8_192 })
const Texts = Type.Record(Type.String({ maxLength: 256 }), Text, { maxProperties: LABELS_MAX })

/** One of `alerts`. Members that are not known are let pass: newer versions add some. */
const AlertSchema = Type.Object({
  status: Type.Union([Type.Literal('firing'), Type.Literal('resolved')]),
  labels: Texts,
  annotations: Type.Optional(Texts),
  startsAt: Type.String({ format: 'date-time' }),
  endsAt: Type.Optional(Type.String({ format: 'date-time' })),
  generatorURL: Type.Optional(Text),
  fingerprint: Type.Optional(Type.String({ maxLength: 128 })),
})
const check = compileSchema(AlertSchema)

/** The webhook of Prometheus Alertmanager, payload version 4 (prometheus.io/docs/alerting/latest/configuration/#webhook_config). */
export const AlertmanagerSchema = Type.Object(
  {
    version: Type.Literal('4'),
    groupKey: Type.String({ maxLength: 8_192 }),
    truncatedAlerts: Type.Optional(Type.Integer({ minimum: 0, description: 'alerts that Alertmanager left out' })),
    status: Type.Union([Type.Literal('firing'), Type.Literal('resolved')]),
    receiver: Type.Optional(Type.String({ maxLength: 8_192 })),
    alerts: Type.Array(Type.Unknown(), {
      minItems: 1,
      maxItems: 10_000,
      description: 'each is read by itself; `status`, `labels` and `startsAt` are needed',
    }),
  },
  { description: 'what Prometheus Alertmanager sends to a webhook, version 4' },
)

/**
 * Reads one alert of the payload. Its fingerprint, which Alertmanager makes of its labels, names the trouble; without one its labels do.
 * An `endsAt` of an alert that fires tells only when Alertmanager would give it up.
 */
export function readAlertmanager(item: unknown, deviceLabel: string, nowMs: number): ReadAlert {
  const checked = check(item)
  if (checked.status === 'invalid') {
    const [fault] = checked.faults
    return { status: 'refused', problem: `${fault?.path ?? ''} ${fault?.problem ?? 'is not valid'}`.trim() }
  }
  const { status, labels, annotations = {}, startsAt, endsAt, fingerprint } = checked.value
  const phase = status === 'firing' ? 'raised' : 'cleared'
  const name = plainLine(labels.alertname ?? '', NAME_LENGTH_MAX)
  if (name === '') return { status: 'refused', problem: 'labels.alertname is missing' }
  const span = spanOfTrouble({ phase, startsAt, endsAt }, nowMs)
  if (typeof span === 'string') return { status: 'refused', problem: span }
  const named = fingerprint === undefined || fingerprint === '' ? labelsInOrder(labels) : [fingerprint]
  const device = Object.hasOwn(labels, deviceLabel) ? (labels[deviceLabel] ?? '') : ''
  return {
    status: 'read',
    alert: {
      ...{ identity: identityOf(['alertmanager', ...named]), phase, name, ...span },
      device: device === '' ? null : plainLine(device, NAME_LENGTH_MAX),
      severity: severityOf(labels.severity),
      summary: plainLine(annotations.summary ?? annotations.message ?? '', TEXT_LENGTH_MAX),
      description: plainLine(annotations.description ?? '', TEXT_LENGTH_MAX),
      remedy: plainLine(annotations.runbook_url ?? '', TEXT_LENGTH_MAX),
      source: 'alertmanager',
      labels: plainLabels(labels),
    },
  }
}
