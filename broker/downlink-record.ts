import { DownlinksCancelledSchema, DownlinkSchema, type Downlink, type DownlinksCancelled } from '../contracts/downlink.ts'
import { ForgetDeviceSchema, type ForgetDevice } from '../contracts/forget-device.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { compileSchema } from '../kernel/schema.ts'
import type { LogRecord } from '../storage/event-log/event-log.ts'

const checkDownlink = compileSchema(DownlinkSchema)
const checkCancelled = compileSchema(DownlinksCancelledSchema)
const checkForget = compileSchema(ForgetDeviceSchema)

/** The message to a device that a record holds; undefined when it holds none, or its key names another device. */
export function downlinkOf(record: LogRecord): Downlink | undefined {
  const checked = checkDownlink(readJson(record))
  if (checked.status === 'invalid' || record.key !== `${checked.value.tenant}/${checked.value.device}`) return undefined
  return checked.value
}

/** The cancellation that a record holds; undefined as above. */
export function cancellationOf(record: LogRecord): DownlinksCancelled | undefined {
  const checked = checkCancelled(readJson(record))
  if (checked.status === 'invalid' || record.key !== `${checked.value.tenant}/${checked.value.device}`) return undefined
  return checked.value
}

/** What is to be forgotten of a device; undefined as above. */
export function forgettingOf(record: LogRecord): ForgetDevice | undefined {
  const checked = checkForget(readJson(record))
  if (checked.status === 'invalid' || record.key !== `${checked.value.tenant}/${checked.value.device}`) return undefined
  return checked.value
}

/** What a record says; undefined when it is not JSON. */
export function readJson(record: LogRecord): unknown {
  try {
    return JSON.parse(utf8Text(record.value))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
