import { generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint, CompactSign } from 'jose'
import type { PublicJwk, StatementSigner } from '../../../contracts/statement.ts'
import type { StoredReading } from '../../../storage/series/series-store.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { systemClock } from '../../../kernel/time.ts'
import { openBackend, type Backend } from '../backend.ts'
import { ModelsConfigSchema, type ModelsConfig } from '../config.ts'
import { MODEL_LAYOUT, openModel, sealModel, type Model } from '../model-file.ts'
import { widthOf } from '../network.ts'
import { calibrate } from '../training/calibration.ts'
import { buildDataset, type BuiltDataset } from '../training/dataset.ts'
import type { DatasetSources } from '../training/dataset-sources.ts'
import { Pace } from '../training/pace.ts'
import { Training } from '../training/training.ts'
import { pumpReadings } from './synthetic-fleet.ts'

/** Signs as the platform does, with a key of its own. */
export async function testSigner(): Promise<StatementSigner> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x } = publicKey.export({ format: 'jwk' })
  const base = { kty: 'OKP', crv: 'Ed25519', x: String(x) } as const
  const jwk: PublicJwk = { ...base, kid: await calculateJwkThumbprint(base), alg: 'EdDSA', use: 'sig' }
  return {
    sign: (type, statement) =>
      new CompactSign(Buffer.from(JSON.stringify(statement)))
        .setProtectedHeader({ alg: 'EdDSA', typ: type, kid: jwk.kid })
        .sign(privateKey),
    publicKeys: () => Promise.resolve([jwk]),
  }
}

export function modelsConfig(changes: Partial<ModelsConfig> = {}): ModelsConfig {
  const checked = compileSchema(ModelsConfigSchema)({
    backend: 'wasm',
    trainingRowsMax: 2_000,
    trainingRowsMin: 100,
    epochsMax: 12,
    // Beside other tests it would get next to nothing.
    trainingNice: 0,
    ...changes,
  })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

/** A series store that holds pumps and nothing else. */
export function pumpSources(pumps: number, rows: number, changes: Partial<DatasetSources> = {}): DatasetSources {
  const stored = new Map<string, StoredReading[]>()
  for (let k = 0; k < pumps; k++) {
    const device = `pump-${k}`
    stored.set(
      device,
      pumpReadings({ device, seed: k, rows }).map(({ boot: _boot, ...reading }) => ({ ...reading, boot: null, seq: null })),
    )
  }
  return {
    series: {
      range: ({ device, fromTs = 0, toTs = Number.POSITIVE_INFINITY, limit, cursor }) => {
        const all = stored.get(String(device)) ?? []
        const within = all.filter(({ ts }) => ts >= fromTs && ts < toTs && (cursor === undefined || ts < Number(cursor)))
        const items = within.reverse().slice(0, limit)
        return Promise.resolve({ items, next: within.length > limit ? String(items.at(-1)?.ts) : null })
      },
      positions: () => Promise.resolve(new Map([[0, rows]])),
    },
    devicesOf: () => Promise.resolve([...stored.keys()]),
    anomaliesOf: () => Promise.resolve([]),
    labelsOf: () => Promise.resolve([]),
    ...changes,
  }
}

export const PUMPS_START = pumpReadings({ device: 'p', seed: 0, rows: 1 })[0]!.ts

/** As fast as it goes. */
export function atOnce(): Pace {
  return new Pace({ clock: systemClock, share: 1, workMs: 20 })
}

export function pumpDataset(pumps = 3, rows = 700): Promise<BuiltDataset> {
  const nowMs = PUMPS_START + rows * 1_000
  return buildDataset({ tenant: 'default', type: 'pump', config: modelsConfig(), seed: 1, nowMs, pace: atOnce() }, pumpSources(pumps, rows))
}

export interface TrainedModel {
  backend: Backend
  model: Model
  bytes: Uint8Array
  signer: StatementSigner
}

/** A small model of pumps, trained here. */
export async function trainedModel({ version = 1, seed = 1, epochs = 12 } = {}): Promise<TrainedModel> {
  const backend = await openBackend('wasm')
  const signer = await testSigner()
  const { windows, scales, spreads, gapMs, dataset } = await pumpDataset()
  const training = new Training(backend, windows, { seed, epochsMax: epochs, patienceEpochs: 8 })
  while (!training.isDone) await training.learnEpoch()
  training.useBest()
  const { usual, threshold, scoreDeciles, scoreShares } = calibrate(training.network, windows, { quantile: 0.995, margin: 1.5 })
  const manifest = {
    ...{
      layout: MODEL_LAYOUT,
      tenant: 'default',
      type: 'pump',
      version,
      trainedAt: PUMPS_START,
      seed,
      shape: windows.shape,
      everyMs: 1_000,
      gapMs,
    },
    metrics: scales.map((scale, k) => ({ ...scale, usual: usual[k]!, ...spreads[k]! })),
    ...{ threshold, scoreDeciles, scoreShares, backgrounds: 8, dataset: dataset.id },
  } as const
  const backgrounds = windows.learn.slice(0, 8 * widthOf(windows.shape))
  const bytes = await sealModel({ ...manifest, layout: 1 }, training.best.weights, backgrounds, signer)
  training.network.dispose()
  return { backend, bytes, signer, model: await openModel(bytes, await signer.publicKeys(), { tenant: 'default', type: 'pump', version }) }
}
