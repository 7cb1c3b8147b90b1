import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

/** One kind of event-time window; windows are aligned to the epoch. */
export const WindowSpecSchema = Type.Object(
  {
    kind: Type.Union([Type.Literal('tumbling'), Type.Literal('hopping')], {
      description: 'tumbling: back to back, slideMs equals sizeMs; hopping: overlapping, sizeMs is a multiple of slideMs',
    }),
    sizeMs: Type.Integer({ minimum: 1, maximum: 86_400_000, description: 'length in ms, 1 to 86400000 (a day)' }),
    slideMs: Type.Integer({ minimum: 1, maximum: 86_400_000, description: 'distance between two starts in ms, 1 to sizeMs' }),
  },
  { additionalProperties: false },
)
export type WindowSpec = Static<typeof WindowSpecSchema>

/** Settings of event-time windows; `crossCheckWindowsConfig` checks them against each other. */
export const WindowsConfigSchema = Type.Object(
  {
    windows: Type.Array(WindowSpecSchema, {
      minItems: 1,
      maxItems: 16,
      default: [
        { kind: 'tumbling', sizeMs: 60_000, slideMs: 60_000 },
        { kind: 'hopping', sizeMs: 300_000, slideMs: 60_000 },
      ],
      description: 'windows kept for every numeric metric, 1 to 16; no two of the same kind and size, because those name a window',
    }),
    outOfOrdernessMs: Type.Integer({
      minimum: 0,
      maximum: 3_600_000,
      default: 5_000,
      description:
        "ms, 0 to 3600000: a device's watermark trails its newest event time by this, so that readings may overtake each other so far",
    }),
    allowedLatenessMs: Type.Integer({
      minimum: 0,
      maximum: 86_400_000,
      default: 60_000,
      description:
        'ms of event time, 0 to 86400000: so long after its end a closed window is still corrected (revision n + 1); later readings are late',
    }),
    idleTimeoutMs: Type.Integer({
      minimum: 1_000,
      maximum: 86_400_000,
      default: 60_000,
      description:
        'ms of wall time, 1000 to 86400000: a device silent for longer has its open windows emitted without waiting for its watermark',
    }),
    metricsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 256,
      description:
        'metrics of one device windowed at a time, 1 to 10000; values of further ones are counted and left out, so that names cannot fill memory',
    }),
    panesMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 1_024,
      description:
        'panes one metric may hold at a time, 1 to 100000; windows, lateness and out-of-orderness that need more are refused at start',
    }),
    exactValuesMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 64,
      description:
        'values a pane keeps for an exact p95, 1 to 10000 (8 bytes each); beyond it a histogram with 1 % relative error takes over',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type WindowsConfig = Static<typeof WindowsConfigSchema>

/** Width of a pane: the greatest common divisor of all slides, so that every window is a whole number of panes. */
export function paneWidthMs(windows: readonly WindowSpec[]): number {
  return windows.reduce((width, spec) => greatestCommonDivisor(width, spec.slideMs), 0)
}

/** Panes one metric can hold at most: from the oldest window still correctable up to the newest reading. */
export function panesNeeded(config: WindowsConfig): number {
  const sizeMaxMs = Math.max(...config.windows.map((spec) => spec.sizeMs))
  return Math.ceil((sizeMaxMs + config.allowedLatenessMs + config.outOfOrdernessMs) / paneWidthMs(config.windows)) + 2
}

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckWindowsConfig(config: WindowsConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const names = new Set<string>()
  config.windows.forEach((spec, i) => {
    const key = `${section}.windows.${i}`
    if (spec.kind === 'tumbling' && spec.slideMs !== spec.sizeMs) {
      faults.push({
        key: `${key}.slideMs`,
        problem: `${spec.slideMs} differs from sizeMs`,
        allowed: `${spec.sizeMs} (a tumbling window slides by its size)`,
      })
    }
    if (spec.sizeMs % spec.slideMs !== 0) {
      faults.push({
        key: `${key}.sizeMs`,
        problem: `${spec.sizeMs} is not a multiple of slideMs`,
        allowed: `a multiple of ${spec.slideMs}`,
      })
    }
    const name = `${spec.kind}/${spec.sizeMs}`
    if (names.has(name))
      faults.push({ key, problem: `a second ${spec.kind} window of ${spec.sizeMs} ms`, allowed: 'one window per kind and size' })
    names.add(name)
  })
  const needed = panesNeeded(config)
  if (faults.length === 0 && needed > config.panesMax) {
    faults.push({
      key: `${section}.panesMax`,
      problem: `${config.panesMax} panes are too few: ${needed} panes of ${paneWidthMs(config.windows)} ms span the windows, their lateness and out-of-orderness`,
      allowed: `at least ${needed}, or shorter windows, a wider slide or less lateness`,
    })
  }
  return faults
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}
