import { Type } from 'typebox'
import { compileSchema } from '../../kernel/schema.ts'
import {
  identityOf,
  LABELS_MAX,
  NAME_LENGTH_MAX,
  plainLabels,
  plainLine,
  severityOf,
  spanOfTrouble,
  TEXT_LENGTH_MAX,
  type ReadAlert,
} from './external-alert.ts'

/** The one type of event that is taken. */
export const EXTERNAL_ALERT_TYPE = 'fleetpulse.external-alert.v1'

const Text = Type.String({ maxLength: 8_192 })
const Name = Type.String({ minLength: 1, maxLength: 256 })

/** `data` of the event. */
const DataSchema = Type.Object(
  {
    fingerprint: Type.String({
      minLength: 1,
      maxLength: 256,
      description: 'names the trouble within `source`: the same one is the same trouble',
    }),
    status: Type.Union([Type.Literal('firing'), Type.Literal('resolved')]),
    name: Type.String({ minLength: 1, maxLength: 256, description: 'what kind of trouble; routes can match it as label `rule`' }),
    startsAt: Type.String({ format: 'date-time', description: 'when it began; the same whenever the trouble is told again' }),
    endsAt: Type.Optional(Type.String({ format: 'date-time', description: 'of what is resolved; default: now' })),
    device: Type.Optional(Type.String({ maxLength: 256, description: 'the device that it is about' })),
    severity: Type.Optional(
      Type.String({ maxLength: 64, description: '`critical`, `page`, `fatal`, `emergency` or `disaster`; any other is a warning' }),
    ),
    summary: Type.Optional(Text),
    description: Type.Optional(Text),
    remedy: Type.Optional(Text),
    labels: Type.Optional(Type.Record(Type.String({ maxLength: 256 }), Text, { maxProperties: LABELS_MAX })),
  },
  { additionalProperties: false },
)

/** CloudEvents 1.0 §3.1; extension attributes are let pass. */
const EventSchema = Type.Object(
  {
    specversion: Type.Literal('1.0'),
    id: Name,
    source: Name,
    type: Type.Literal(EXTERNAL_ALERT_TYPE),
    datacontenttype: Type.Optional(Type.Literal('application/json')),
    data: DataSchema,
  },
  { description: 'a CloudEvents 1.0 event in structured mode' },
)
const check = compileSchema(EventSchema)

/** As the API checks it first: what an event must have. The rest is read, and refused, by `readCloudEvent`. */
export const CloudEventSchema = EventSchema

/** Reads one event. Source and fingerprint name the trouble, whatever the id of the event that tells it. */
export function readCloudEvent(event: unknown, nowMs: number): ReadAlert {
  const checked = check(event)
  if (checked.status === 'invalid') {
    const [fault] = checked.faults
    return { status: 'refused', problem: `${fault?.path ?? ''} ${fault?.problem ?? 'is not valid'}`.trim() }
  }
  const { source, data } = checked.value
  const phase = data.status === 'firing' ? 'raised' : 'cleared'
  const name = plainLine(data.name, NAME_LENGTH_MAX)
  if (name === '') return { status: 'refused', problem: 'data.name has nothing that can be shown' }
  const span = spanOfTrouble({ phase, startsAt: data.startsAt, endsAt: data.endsAt }, nowMs)
  if (typeof span === 'string') return { status: 'refused', problem: `data.${span}` }
  const { device = '', summary = '', description = '', remedy = '' } = data
  return {
    status: 'read',
    alert: {
      ...{ identity: identityOf(['cloud-event', source, data.fingerprint]), phase, name, ...span },
      device: device === '' ? null : plainLine(device, NAME_LENGTH_MAX),
      severity: severityOf(data.severity),
      summary: plainLine(summary, TEXT_LENGTH_MAX),
      description: plainLine(description, TEXT_LENGTH_MAX),
      remedy: plainLine(remedy, TEXT_LENGTH_MAX),
      source: plainLine(source, NAME_LENGTH_MAX),
      labels: plainLabels(data.labels ?? {}),
    },
  }
}
