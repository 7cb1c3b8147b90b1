import { createHash } from 'node:crypto'
import { FINDING_SEVERITIES, type Finding, type FindingSeverity } from '../../contracts/finding.ts'

/** What a check says; the rest of a finding is its history. */
export type Found = Pick<Finding, 'tenant' | 'check' | 'severity' | 'subject' | 'device' | 'title' | 'remedy' | 'evidence'>

const ID_CHARACTERS = 24

/** The same weakness of the same thing has the same id, so that it is one finding however often it is seen. */
export function findingId({ tenant, check, subject }: Found): string {
  const name = JSON.stringify([tenant, check, subject.kind, subject.id])
  return createHash('sha256').update(name).digest('hex').slice(0, ID_CHARACTERS)
}

/** 0 for the worst. */
export function rankOf(severity: FindingSeverity): number {
  return FINDING_SEVERITIES.indexOf(severity)
}

/** What a device loses of 100 points by a finding. */
export const PENALTIES: Readonly<Record<FindingSeverity, number>> = { critical: 60, high: 30, medium: 15, low: 5 }

/** A device without findings has 100, one that lost everything 0. */
export function deviceScore(severities: readonly FindingSeverity[]): number {
  return Math.max(
    0,
    severities.reduce((score, severity) => score - PENALTIES[severity], 100),
  )
}

/** The mean of all devices, less what concerns the platform they all rely on; one decimal. */
export function fleetScore(devices: number, affected: readonly number[], ofPlatform: readonly FindingSeverity[]): number {
  const count = Math.max(devices, affected.length)
  const lost = affected.reduce((sum, score) => sum + 100 - score, 0)
  const mean = count === 0 ? 100 : 100 - lost / count
  const platform = ofPlatform.reduce((sum, severity) => sum + PENALTIES[severity], 0)
  return Math.round(Math.max(0, mean - platform) * 10) / 10
}
