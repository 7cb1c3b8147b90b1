import { Type, type Static } from 'typebox'

/**
 * What changed about a device or its trust, on topic `device-events` (schema `device-event/1`).
 * The broker closes sessions and refuses connections from it; ingest and processing refresh what they know of a type.
 */
export const DeviceEventSchema = Type.Union([
  Type.Object({
    event: Type.Literal('device-changed'),
    tenant: Type.String(),
    device: Type.String(),
    type: Type.String(),
    state: Type.String(),
    at: Type.Integer(),
  }),
  Type.Object({ event: Type.Literal('device-type-changed'), tenant: Type.String(), type: Type.String(), at: Type.Integer() }),
  Type.Object({
    event: Type.Literal('certificate-revoked'),
    tenant: Type.String(),
    device: Type.String(),
    /** Upper-case hex without separators, as openssl prints it. */
    serial: Type.String(),
    /** Key id of the CA that signed it; absent in events of before there was it: then the serial alone decides. */
    issuer: Type.Optional(Type.String()),
    /** CRLReason name of RFC 5280 §5.3.1. */
    reason: Type.String(),
    /** Epoch ms at which the revocation was asked for: what happens because of it is timed from here, in whichever process. */
    at: Type.Integer(),
    /** The device has no valid certificate left: what waits for it is cancelled. */
    isLast: Type.Optional(Type.Boolean()),
  }),
  Type.Object({
    event: Type.Literal('finding-opened'),
    tenant: Type.String(),
    device: Type.String(),
    /** Which check of the security posture found it: `shared-key`, `weak-key`, … */
    check: Type.String(),
    at: Type.Integer(),
  }),
  /** A factory CA or a claim was made, changed or taken away: who may come in is to be looked up again. */
  Type.Object({
    event: Type.Literal('trust-changed'),
    tenant: Type.String(),
    kind: Type.Union([Type.Literal('factory'), Type.Literal('claim')]),
    id: Type.String(),
    at: Type.Integer(),
  }),
])
export type DeviceEvent = Static<typeof DeviceEventSchema>
export const DEVICE_EVENT = 'device-event/1'
