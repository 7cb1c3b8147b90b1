import { Command } from 'commander'
import type { AnomalyConfig } from '../anomaly/config.ts'
import { openLike, type BackendName } from '../anomaly/models/backend.ts'
import { openModel } from '../anomaly/models/model-file.ts'
import type { KeptModel } from '../anomaly/models/replay-model.ts'
import { Scorer } from '../anomaly/models/scorer.ts'
import { SLOTS_HELD } from '../anomaly/peers/peer-state.ts'
import type { PeerSummary } from '../anomaly/peers/peer-summary.ts'
import { replayAnomaly, type KeptParts } from '../anomaly/replay-anomaly.ts'
import type { PastReading, Replayed } from '../anomaly/replayed.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import { FleetpulseError, NotFoundError } from '../kernel/errors.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'

interface ReplayAnomalyOptions extends PlatformOptions {
  json?: boolean
}

type StoredReading = PastReading & { readonly receivedAt: number }

const PAGE_READINGS = 1_000
/** Readings of a device that are looked at, newest first: bounds memory. */
const READINGS_MAX = 1_000_000

export function replayAnomalyCommand(): Command {
  return new Command('replay-anomaly')
    .description(
      'Judge the stored readings of an anomaly anew: exit code 0 when its score is the same, 1 when not, with what changed or is gone',
    )
    .argument('<id>', 'id of the anomaly')
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse replay-anomaly 4f1c0a…\n')
    .action(run)
}

async function run(id: string, options: ReplayAnomalyOptions): Promise<void> {
  const client = ApiClient.find(options)
  try {
    const anomaly = await client.get<Anomaly>(`/anomalies/${encodeURIComponent(id)}`)
    const { settings } = await client.get<{ settings: AnomalyConfig }>('/detectors')
    const replayed = await replayAnomaly(anomaly, await readingsOf(client, anomaly), settings, keptBy(client))
    process.stdout.write(
      options.json === true ? `${JSON.stringify({ anomaly: id, was: anomaly.score, ...replayed })}\n` : textOf(anomaly, replayed),
    )
    if (replayed.status === 'changed') process.exitCode = 1
  } finally {
    await client.close()
  }
}

/** In the order in which they came: the anomaly's own the last, or of a comparison those of its slot and what closed it. */
async function readingsOf(client: ApiClient, { device, ts, cause, explanation }: Anomaly): Promise<PastReading[]> {
  if (cause === 'silence') return []
  const { slotTs, slotMs } = explanation.parameters
  const range = cause === 'peers' ? `from=${Number(slotTs)}&to=${ts + SLOTS_HELD * Number(slotMs)}` : `to=${ts + 1}`
  const readings: StoredReading[] = []
  let cursor: string | null = null
  do {
    const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page: { items: StoredReading[]; next: string | null } = await client.get(
      `/readings?device=${encodeURIComponent(device)}&${range}&limit=${PAGE_READINGS}${after}`,
    )
    readings.push(...page.items.map(({ ts: at, receivedAt, values }) => ({ ts: at, receivedAt, values })))
    cursor = page.next
  } while (cursor !== null && readings.length < READINGS_MAX)
  return readings.reverse().sort((a, b) => a.receivedAt - b.receivedAt)
}

function keptBy(client: ApiClient): KeptParts {
  return {
    model: async (type, version, backend) => {
      try {
        return await readModel(client, { type, version }, backend)
      } catch (error) {
        if (error instanceof NotFoundError || (error instanceof FleetpulseError && error.code === 'MODEL_REFUSED'))
          return { status: 'gone', why: error.message }
        throw error
      }
    },
    peers: async (summary) => {
      try {
        return await client.get<PeerSummary>(`/detectors/peers/${summary}`)
      } catch (error) {
        if (error instanceof NotFoundError) return null
        throw error
      }
    },
  }
}

async function readModel(client: ApiClient, name: { type: string; version: number }, backend: BackendName | undefined): Promise<KeptModel> {
  const bytes = await client.file(`/models/${encodeURIComponent(`${name.type}@${name.version}`)}/file`)
  const model = await openModel(bytes, await client.signingKeys(), name)
  return { status: 'kept', scorer: new Scorer(await openLike(backend), model) }
}

function textOf(anomaly: Anomaly, replayed: Replayed): string {
  if (replayed.status === 'same') return `the same score, ${anomaly.score}, from ${replayed.readings} stored readings\n`
  const now = replayed.score === null ? 'no score' : `score ${replayed.score}`
  return `score ${anomaly.score} then, ${now} now: ${replayed.why.join('; ')}\n`
}
