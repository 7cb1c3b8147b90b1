import { ByteReader, type ByteWriter } from '../../kernel/byte-stream.ts'
import { StoreError } from '../../kernel/errors.ts'
import type { WindowResult } from '../../contracts/window.ts'
import type { RulePlan } from './rule-plan.ts'
import type { RuleTrack } from './rule-track.ts'

/** Grows with every change of what is stored. */
export const RULES_STATE_VERSION = 1

/** Everything that rules know of one device. */
export interface DeviceRules {
  tenant: string
  device: string
  type: string
  /** Latest receipt of a reading, epoch ms: which versions of rules judge never goes back. */
  receivedTo: number
  /** By id of the rule. */
  tracks: Map<string, RuleTrack>
  /** Not stored. */
  plan: RulePlan | null
  /** Windows emitted for the reading or time at hand; not stored. */
  seen: WindowResult[]
}

export function newDeviceRules(tenant: string, device: string, type: string): DeviceRules {
  return { tenant, device, type, receivedTo: 0, tracks: new Map(), plan: null, seen: [] }
}

/** Text, because most devices have few tracks: a new field needs no new version where its absence means what was before. */
export function encodeDeviceRules({ tenant, device, type, receivedTo, tracks }: DeviceRules, into: ByteWriter): void {
  into.text(tenant)
  into.text(device)
  into.text(type)
  into.double(receivedTo)
  into.text(tracks.size === 0 ? '' : JSON.stringify([...tracks], finite))
}

/** StoreError for bytes that are damaged or of an unknown version. */
export function decodeDeviceRules(bytes: Uint8Array, version: number): DeviceRules {
  if (version !== RULES_STATE_VERSION) {
    throw new StoreError('STORE_NEWER', `rule state of version ${version}; this build knows ${RULES_STATE_VERSION}`, {
      remedy: 'Run the newer Fleetpulse that wrote it.',
    })
  }
  const reader = new ByteReader(bytes)
  const state = newDeviceRules(reader.text(), reader.text(), reader.text())
  state.receivedTo = reader.double()
  const text = reader.text()
  if (text === '') return state
  const stored = JSON.parse(text) as [string, RuleTrack][]
  for (const [id, track] of stored) {
    state.tracks.set(id, { ...track, lastTs: track.lastTs ?? -Infinity, toldTs: track.toldTs ?? -Infinity })
  }
  return state
}

/** JSON has no infinities: they are absent there. */
function finite(_key: string, value: unknown): unknown {
  return value === -Infinity ? undefined : value
}
