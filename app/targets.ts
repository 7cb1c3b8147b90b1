import { ConfigError, InvalidInputError, type ConfigFault } from '../kernel/errors.ts'
import type { Config } from './config-sections.ts'

/** The parts of the platform that can run in a thread or process of their own. */
export const TARGETS = ['edge', 'registry', 'processing', 'anomaly', 'alerts', 'agents', 'dashboard'] as const
export type Target = (typeof TARGETS)[number]

/** `all`, or a comma list of targets. Throws InvalidInputError naming what is allowed. */
export function parseTargets(text: string): readonly Target[] {
  const names = text.split(',').map((name) => name.trim())
  if (names.length === 1 && names[0] === 'all') return TARGETS
  const unknown = names.filter((name) => !TARGETS.includes(name as Target))
  if (unknown.length > 0) {
    throw new InvalidInputError(
      `--target: ${unknown.map((name) => `"${name}"`).join(', ')} is not a target; allowed: all, or a comma list of ${TARGETS.join(', ')}`,
    )
  }
  return TARGETS.filter((target) => names.includes(target))
}

/** Refuses a partial target over an engine that only one process can open. */
export function checkTargets(config: Config, targets: readonly Target[]): void {
  if (targets.length === TARGETS.length) return
  const { eventLogEngine, seriesEngine, documentsEngine } = config.platform
  const faults: ConfigFault[] = []
  const refuse = (key: string, engine: string, allowed: string): void => {
    faults.push({
      key,
      problem: `${engine} is opened by one process alone, so --target=${targets.join(',')} could not share it with the others`,
      allowed,
    })
  }
  if (eventLogEngine === 'lmdb') refuse('platform.eventLogEngine (FLEETPULSE_EVENT_LOG_ENGINE)', eventLogEngine, 'kafka, or --target=all')
  if (seriesEngine === 'duckdb') refuse('platform.seriesEngine (FLEETPULSE_SERIES_ENGINE)', seriesEngine, 'questdb, or --target=all')
  if (documentsEngine === 'lmdb')
    refuse('platform.documentsEngine (FLEETPULSE_DOCUMENTS_ENGINE)', documentsEngine, 'mongodb, or --target=all')
  if (faults.length > 0) throw new ConfigError(faults)
}
