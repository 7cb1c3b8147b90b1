import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'
import type { RuleSettings } from './rule.ts'

/** What a rule said from a time on; null settings: it was gone. */
export interface RuleVersion {
  /** From 1 up. */
  version: number
  /** Readings received from then on are judged by it, epoch ms: a replay of the log judges each by the same version as the first time. */
  activeFrom: number
  settings: RuleSettings | null
}

/** A rule with what it said before: as many versions as readings may still be replayed by, newest first. */
export interface RuleDocument {
  id: string
  tenant: string
  /** `gone` is kept for a while, so that what it raised is cleared wherever it is. */
  state: 'kept' | 'gone'
  versions: RuleVersion[]
  createdBy: string
  createdAt: number
  updatedBy: string
  updatedAt: number
}
export type StoredRule = RuleDocument & Stored

export const RULES_COLLECTION: CollectionSpec = {
  name: 'rules',
  indexes: [
    { name: 'newest', paths: ['tenant', 'state', 'id'] },
    { name: 'gone', paths: ['state', 'updatedAt'] },
  ],
}

/** The version that judges what was received at this time; null before there was one. */
export function versionAt({ versions }: Pick<RuleDocument, 'versions'>, receivedAt: number): RuleVersion | null {
  return versions.find(({ activeFrom }) => activeFrom <= receivedAt) ?? null
}
