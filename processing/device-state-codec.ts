import { ByteReader, type ByteWriter } from '../kernel/byte-stream.ts'
import { StoreError } from '../kernel/errors.ts'
import type { DeviceIdentity, IdentityData } from './identity.ts'
import type { DeviceLedger, LedgerCounts, LedgerHour } from './ledger.ts'

/** Grows with every change of the layout below. */
const LAYOUT = 1

/** Flags of an identity, one bit each. */
const BOOTS_DROPPED = 1
const TIMES_DROPPED = 2

/** An operator's state as it was written. */
export interface OperatorBytes {
  bytes: Uint8Array
  stateVersion: number
}

/** What a saved device state says, apart from what is looked for in the store. */
export interface SavedState {
  type: string
  identity: IdentityData
  totals: LedgerCounts
  hours: LedgerHour[]
  /** By operator. */
  operators: Map<string, OperatorBytes>
}

/**
 * The part of a device's state that nobody looks for: type, identity, ledger. `operators` follow, each with its name, its version and its
 * size. Bytes and not JSON, because a large fleet's states are saved all day, and this part changes with every reading.
 */
export function writeState(
  { type, identity, ledger }: { type: string; identity: DeviceIdentity; ledger: DeviceLedger },
  writer: ByteWriter,
): void {
  writer.integer(LAYOUT)
  writer.text(type)
  writeIdentity(identity.toData(), writer)
  const { received, stored, rejected, late, duplicate } = ledger.totals
  for (const count of [received, stored, rejected, late, duplicate]) writer.integer(count)
  writer.integer(ledger.hours.length)
  for (const hour of ledger.hours) writeHour(hour, writer)
}

/** `encode` writes the state; its size is set in front of it when it is known. */
export function writeOperator(name: string, stateVersion: number, encode: () => void, writer: ByteWriter): void {
  writer.text(name)
  writer.integer(stateVersion)
  const at = writer.length
  writer.uint32(0)
  encode()
  writer.uint32At(at, writer.length - at - 4)
}

/** Throws StoreError for bytes of a newer layout and for damaged ones. `operators` are views of `bytes`. */
export function readState(bytes: Uint8Array): SavedState {
  const reader = new ByteReader(bytes)
  const layout = reader.integer()
  if (layout !== LAYOUT) {
    throw new StoreError('STORE_NEWER', `device state of layout ${layout}; this build knows ${LAYOUT}`, {
      remedy: 'Run the newer Fleetpulse that wrote it.',
    })
  }
  const state: SavedState = {
    type: reader.text(),
    identity: readIdentity(reader),
    totals: {
      received: reader.integer(),
      stored: reader.integer(),
      rejected: reader.integer(),
      late: reader.integer(),
      duplicate: reader.integer(),
    },
    hours: [],
    operators: new Map(),
  }
  for (let left = reader.integer(); left > 0; left--) state.hours.push(readHour(reader))
  while (!reader.atEnd) {
    const name = reader.text()
    const stateVersion = reader.integer()
    state.operators.set(name, { stateVersion, bytes: reader.bytes(reader.uint32()) })
  }
  return state
}

function writeIdentity(identity: IdentityData, writer: ByteWriter): void {
  writer.integer(identity.boots.length)
  for (const { boot, bounds, joinedGaps } of identity.boots) {
    writer.text(boot)
    writer.integer(joinedGaps)
    writer.integer(bounds.length)
    for (const bound of bounds) writer.double(bound)
  }
  writer.integer(identity.recentTimes.length)
  for (const time of identity.recentTimes) writer.double(time)
  writer.integer((identity.bootsDropped ? BOOTS_DROPPED : 0) | (identity.timesDropped ? TIMES_DROPPED : 0))
  writer.double(identity.missingOfDroppedBoots)
}

function readIdentity(reader: ByteReader): IdentityData {
  const boots: IdentityData['boots'] = []
  for (let left = reader.integer(); left > 0; left--) {
    boots.push({ boot: reader.text(), joinedGaps: reader.integer(), bounds: readDoubles(reader) })
  }
  const recentTimes = readDoubles(reader)
  const flags = reader.integer()
  return {
    boots,
    recentTimes,
    bootsDropped: (flags & BOOTS_DROPPED) !== 0,
    timesDropped: (flags & TIMES_DROPPED) !== 0,
    missingOfDroppedBoots: reader.double(),
  }
}

function readDoubles(reader: ByteReader): number[] {
  const values: number[] = []
  for (let left = reader.integer(); left > 0; left--) values.push(reader.double())
  return values
}

/** Versions of the ledger's documents are not told: the first write after a restart finds them out. */
function writeHour(hour: LedgerHour, writer: ByteWriter): void {
  writer.double(hour.hour)
  writer.integer(hour.part === 'readings' ? 0 : 1)
  for (const count of [hour.stored, hour.rejected, hour.late, hour.duplicate]) writer.integer(count)
  const reasons = Object.entries(hour.rejectedByReason)
  writer.integer(reasons.length)
  for (const [reason, count] of reasons) {
    writer.text(reason)
    writer.integer(count)
  }
  writer.integer(hour.spans.length)
  for (const { boot, seqBefore, firstSeq, lastSeq } of hour.spans) {
    writer.text(boot)
    writer.double(seqBefore ?? NaN)
    writer.double(firstSeq)
    writer.double(lastSeq)
  }
  writer.integer(hour.bootsTruncated ? 1 : 0)
}

function readHour(reader: ByteReader): LedgerHour {
  const hour: LedgerHour = {
    hour: reader.double(),
    part: reader.integer() === 0 ? 'readings' : 'rejected',
    stored: reader.integer(),
    rejected: reader.integer(),
    late: reader.integer(),
    duplicate: reader.integer(),
    rejectedByReason: {},
    spans: [],
    bootsTruncated: false,
    documentVersion: 0,
    unpublished: false,
  }
  for (let left = reader.integer(); left > 0; left--) hour.rejectedByReason[reader.text()] = reader.integer()
  for (let left = reader.integer(); left > 0; left--) {
    const boot = reader.text()
    const seqBefore = reader.double()
    hour.spans.push({ boot, seqBefore: Number.isNaN(seqBefore) ? null : seqBefore, firstSeq: reader.double(), lastSeq: reader.double() })
  }
  hour.bootsTruncated = reader.integer() === 1
  return hour
}
