import { DOWNLINK, type Downlink } from '../../contracts/downlink.ts'
import { deviceKey } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import type { LogMessage } from '../../storage/event-log/event-log.ts'

/** A JSON message to a device, for topic `commands`; `path` is below `devices/{device}/`, `at` epoch ms. */
export function downlinkMessage(to: { tenant: string; device: string; path: string; body: object; at: number }): LogMessage {
  const { tenant, device, path, body, at } = to
  const downlink: Downlink = { tenant, device, path, payloadBase64: jsonBytes(body).toString('base64'), retain: false, at }
  return { key: deviceKey(tenant, device), schema: DOWNLINK, value: jsonBytes(downlink) }
}
