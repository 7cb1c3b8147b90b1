import { Type, type Static } from 'typebox'

/** What a device id may look like; it is also the MQTT client id and the certificate's CN. */
export const DEVICE_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'
export const TENANT_PATTERN = '^[a-z0-9][a-z0-9-]{0,31}$'
export const DEFAULT_TENANT = 'default'
/** The type every unknown device gets: it takes any metric. */
export const GENERIC_TYPE = 'generic'

const deviceIdExpression = new RegExp(DEVICE_ID_PATTERN)
export function isDeviceId(text: string): boolean {
  return deviceIdExpression.test(text)
}

/**
 * Where a device is in its life, the same for every door it came through:
 * `registered` (known, no certificate yet), `provisioned` (has one, not seen yet), `active`,
 * `suspended` (no connection, no certificate; can be resumed), `quarantined` (connects, but its readings are set aside),
 * `decommissioning` (leaving), `decommissioned` (tombstone: never comes back under this id).
 */
export const DeviceStateSchema = Type.Union([
  Type.Literal('registered'),
  Type.Literal('provisioned'),
  Type.Literal('active'),
  Type.Literal('suspended'),
  Type.Literal('quarantined'),
  Type.Literal('decommissioning'),
  Type.Literal('decommissioned'),
])
export type DeviceState = Static<typeof DeviceStateSchema>

/** A step of a device's life: who, why and when. */
export const DeviceTransitionSchema = Type.Object({
  /** Number of the step in the device's life, from 1 without gaps. */
  step: Type.Integer({ minimum: 1 }),
  from: Type.Union([DeviceStateSchema, Type.Null()], { description: 'null: it was not known before' }),
  to: DeviceStateSchema,
  at: Type.Integer({ description: 'epoch ms' }),
  by: Type.String({ description: '`user:NAME`, `device:ID` or `system`' }),
  why: Type.Union([Type.String(), Type.Null()], { description: 'null: no reason was given' }),
  /** Address the request came from, where there was one. */
  origin: Type.Optional(Type.String()),
})
export type DeviceTransition = Static<typeof DeviceTransitionSchema>

/** May a device in this state open a connection? One that is being decommissioned may: its wipe command has to reach it. */
export function mayConnect(state: DeviceState): boolean {
  return state !== 'suspended' && state !== 'decommissioned'
}

/** May a device in this state be given a certificate? */
export function mayEnrol(state: DeviceState): boolean {
  return mayConnect(state) && state !== 'decommissioning'
}

/** A registry document; `id` is unique within its tenant. */
export const DeviceSchema = Type.Object({
  id: Type.String({ pattern: DEVICE_ID_PATTERN }),
  tenant: Type.String({ pattern: TENANT_PATTERN }),
  type: Type.String({ pattern: DEVICE_ID_PATTERN }),
  state: DeviceStateSchema,
  /** Operator's free labels. */
  labels: Type.Record(Type.String(), Type.String()),
  createdAt: Type.Integer({ description: 'epoch ms' }),
  updatedAt: Type.Integer({ description: 'epoch ms' }),
})
export type Device = Static<typeof DeviceSchema>

export const MetricKindSchema = Type.Union([Type.Literal('number'), Type.Literal('boolean'), Type.Literal('string')])
export type MetricKind = Static<typeof MetricKindSchema>

/** What a device type's schema says of one metric. */
export const MetricSpecSchema = Type.Object({
  kind: MetricKindSchema,
  unit: Type.Optional(Type.String({ maxLength: 32 })),
  /** Smallest and largest value a reading may carry (numbers only); outside it the reading is rejected. */
  min: Type.Optional(Type.Number()),
  max: Type.Optional(Type.Number()),
  required: Type.Optional(Type.Boolean()),
})
export type MetricSpec = Static<typeof MetricSpecSchema>

export const DeviceTypeSchema = Type.Object({
  id: Type.String({ pattern: DEVICE_ID_PATTERN }),
  tenant: Type.String({ pattern: TENANT_PATTERN }),
  /** Closed types refuse metrics that are not listed; open ones (`generic`) take any. */
  open: Type.Boolean(),
  metrics: Type.Record(Type.String(), MetricSpecSchema),
  /** A device of this type that says nothing for so long is silent; 0 switches that off, null learns it from the device's own pace. */
  silenceAfterMs: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]),
  /** Event time is accepted up to this much after receipt. */
  futureToleranceMs: Type.Integer({ minimum: 0 }),
  /** Event time before this instant is refused (epoch ms). */
  earliestTs: Type.Integer(),
  createdAt: Type.Integer(),
  updatedAt: Type.Integer(),
})
export type DeviceType = Static<typeof DeviceTypeSchema>
