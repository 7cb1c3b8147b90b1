import type { MetricSpec } from '../contracts/device.ts'
import { gaussian, type Random } from '../kernel/random.ts'

/** How one simulated metric behaves: level, slow and daily movement, noise. */
export interface MetricProfile {
  spec: MetricSpec
  level: number
  /** Peak of a sine over the period; 0 for none. */
  swing: number
  periodS: number
  /** Standard deviation of the noise. */
  noise: number
  decimals: number
}

export interface DeviceProfile {
  type: string
  metrics: Readonly<Record<string, MetricProfile>>
}

const number = (unit: string, min: number, max: number): MetricSpec => ({ kind: 'number', unit, min, max })

/** Four kinds of device that a small plant has. */
export const PROFILES: readonly DeviceProfile[] = [
  {
    type: 'cold-room',
    metrics: {
      temperature: { spec: number('°C', -60, 90), level: 4, swing: 0.8, periodS: 120, noise: 0.08, decimals: 2 },
      humidity: { spec: number('%', 0, 100), level: 71, swing: 3, periodS: 180, noise: 0.5, decimals: 1 },
    },
  },
  {
    type: 'pump',
    metrics: {
      pressure: { spec: number('bar', 0, 40), level: 6.2, swing: 0.3, periodS: 90, noise: 0.05, decimals: 3 },
      vibration: { spec: number('mm/s', 0, 200), level: 2.1, swing: 0, periodS: 1, noise: 0.12, decimals: 3 },
    },
  },
  {
    type: 'power-meter',
    metrics: {
      power: { spec: number('kW', 0, 5_000), level: 120, swing: 25, periodS: 240, noise: 2.5, decimals: 1 },
      voltage: { spec: number('V', 0, 1_000), level: 231, swing: 1.2, periodS: 300, noise: 0.4, decimals: 1 },
    },
  },
  {
    type: 'air-monitor',
    metrics: {
      co2: { spec: number('ppm', 0, 50_000), level: 620, swing: 90, periodS: 200, noise: 8, decimals: 0 },
      temperature: { spec: number('°C', -60, 90), level: 21.5, swing: 0.7, periodS: 150, noise: 0.06, decimals: 2 },
    },
  },
]

export type FaultKind = 'spike' | 'level-shift' | 'stuck' | 'drift' | 'noise' | 'silence'

/** One labelled fault: what is wrong with which metric, and when. */
export interface Fault {
  device: string
  /** Empty for silence. */
  metric: string
  kind: FaultKind
  /** Epoch ms; `toTs` is exclusive. */
  fromTs: number
  toTs: number
}

/** Size of a fault in standard deviations of the metric's whole movement. */
const FAULT_SPREADS = 8

/** The value of a metric at a time, with the fault that is active, if any. */
export function valueAt(profile: MetricProfile, phase: number, ts: number, fault: Fault | undefined, random: Random): number {
  const healthy = (at: number): number => profile.level + profile.swing * Math.sin((2 * Math.PI * at) / 1000 / profile.periodS + phase)
  const spread = profile.noise + profile.swing / 2
  let value = healthy(ts) + profile.noise * gaussian(random)
  if (fault !== undefined) {
    if (fault.kind === 'spike' || fault.kind === 'level-shift') value += FAULT_SPREADS * spread
    if (fault.kind === 'drift') value += (FAULT_SPREADS * spread * (ts - fault.fromTs)) / (fault.toTs - fault.fromTs)
    if (fault.kind === 'noise') value += FAULT_SPREADS * profile.noise * gaussian(random)
    if (fault.kind === 'stuck') value = healthy(fault.fromTs)
  }
  const { min, max } = profile.spec
  const bounded = Math.min(max ?? value, Math.max(min ?? value, value))
  return Number(bounded.toFixed(profile.decimals))
}
