import { Type, type Static } from 'typebox'

/**
 * A message to a device, on topic `commands` (schema `downlink/1`, keyed by the device): whoever sends one appends it, and the edge that
 * holds the device's session delivers it. Its place in the log is its identity: an edge that takes over from one that died reads some
 * of them again and sends none twice.
 */
export const DownlinkSchema = Type.Object({
  tenant: Type.String(),
  device: Type.String(),
  /** Below `devices/{device}/`: `commands/{id}`, `twin/desired` or `certificate`. */
  path: Type.String(),
  payloadBase64: Type.String(),
  /** The topic keeps it for whoever subscribes later. */
  retain: Type.Boolean(),
  /** Epoch ms at which it was sent. */
  at: Type.Integer(),
})
export type Downlink = Static<typeof DownlinkSchema>
export const DOWNLINK = 'downlink/1'

/**
 * On topic `commands`, keyed by the device (schema `downlinks-cancelled/1`): every message before this one that the device has not
 * acknowledged is taken back. It lies in the log among the messages that it is about, so that it holds for just those, whoever holds the device.
 */
export const DownlinksCancelledSchema = Type.Object({ tenant: Type.String(), device: Type.String(), reason: Type.String(), at: Type.Integer() })
export type DownlinksCancelled = Static<typeof DownlinksCancelledSchema>
export const DOWNLINKS_CANCELLED = 'downlinks-cancelled/1'
