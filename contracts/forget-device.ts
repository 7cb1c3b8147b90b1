import { Type, type Static } from 'typebox'

/**
 * On topic `commands`, keyed by the device (schema `forget-device/1`): whichever edge holds the device forgets what it keeps for it, and says in
 * the documents (FORGOTTEN_COLLECTION, id `request`) what that was. Its place in the log orders it among the messages to the device.
 * `messages`: what waits for it and commands that are retained. `everything`: its connections, session, queue, receipts, will and every retained
 * message, its desired twin among them.
 */
export const ForgetDeviceSchema = Type.Object({
  tenant: Type.String(),
  device: Type.String(),
  scope: Type.Union([Type.Literal('messages'), Type.Literal('everything')]),
  /** Names the answer; whoever asks again asks with the same. */
  request: Type.String({ minLength: 1, maxLength: 128 }),
  /** Certificates that must be refused by now: the device must not come back between. */
  serials: Type.Array(Type.String()),
  at: Type.Integer({ description: 'epoch ms' }),
})
export type ForgetDevice = Static<typeof ForgetDeviceSchema>
export const FORGET_DEVICE = 'forget-device/1'

export const FORGOTTEN_COLLECTION = 'forgotten-devices'

/** What an edge forgot. Asked twice, the first answer stands. */
export interface Forgotten {
  tenant: string
  device: string
  /** Connections that were still open: revoking its certificates ends them before. */
  connections: number
  /** Persistent sessions: 0 or 1. */
  sessions: number
  /** Messages that waited for the device or were retained as commands. */
  messages: number
  /** Other retained messages: the desired twin, and what the device had retained itself. */
  retained: number
  /** Epoch ms. */
  at: number
}
