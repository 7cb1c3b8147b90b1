import { ByteReader, type ByteWriter } from '../../kernel/byte-stream.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { DeviceWindow } from './device-window.ts'
import { bytesOfFloats, floatsOf } from './model-file.ts'

/** What the models know of one device: a window for each of those in use. Empty where its type has no model. */
export interface ModelDeviceState {
  readonly tenant: string
  readonly device: string
  type: string
  windows: DeviceWindow[]
}

export function encodeWindows({ tenant, device, type, windows }: ModelDeviceState, into: ByteWriter): void {
  for (const text of [tenant, device, type]) into.text(text)
  into.integer(windows.length)
  for (const window of windows) {
    for (const count of [window.version, window.filled, window.seen, window.inShadow ? 1 : 0]) into.integer(count)
    into.double(window.rowTs)
    into.integer(window.latest.length)
    for (const value of window.latest) into.double(value)
    const figures = bytesOfFloats(window.figures)
    into.uint32(figures.byteLength)
    into.bytes(figures)
    into.text(JSON.stringify(window.raised))
  }
}

/** Throws InvalidInputError for another version, StoreError for bytes that end too early. */
export function decodeWindows(bytes: Uint8Array, version: number, known: number): ModelDeviceState {
  if (version !== known) {
    throw new InvalidInputError(`the windows of models are of version ${version}, this is version ${known}`, {
      remedy: 'Drop this state: the windows fill anew.',
    })
  }
  const reader = new ByteReader(bytes)
  const state: ModelDeviceState = { tenant: reader.text(), device: reader.text(), type: reader.text(), windows: [] }
  for (let left = reader.integer(); left > 0; left--) {
    const [model, filled, seen, inShadow] = [reader.integer(), reader.integer(), reader.integer(), reader.integer()]
    const rowTs = reader.double()
    const latest = Float64Array.from({ length: reader.integer() }, () => reader.double())
    const figures = floatsOf(reader.bytes(reader.uint32()))
    const raised = JSON.parse(reader.text()) as DeviceWindow['raised']
    state.windows.push({ version: model, latest, figures, filled, seen, rowTs, raised, inShadow: inShadow === 1 })
  }
  return state
}
