import type { Severity } from './alert.ts'

/**
 * What can be wrong with the platform itself. `part`: something says that it does not work; `silent`: a process is not heard of; `lag`: a
 * consumer is far behind; `breaker`: a model is left alone; `dead-letters`: more and more is set aside; `training`: one goes on without
 * progress; `clock`: a process has another time than the others.
 */
export const TROUBLE_KINDS = ['part', 'silent', 'lag', 'breaker', 'dead-letters', 'training', 'clock'] as const
export type TroubleKind = (typeof TROUBLE_KINDS)[number]

/** Something of the platform that does not work, by what is to be seen of it. */
export interface PlatformTrouble {
  kind: TroubleKind
  severity: Severity
  /** For people, in words of ours. */
  what: string
  /** The figure that is beyond its limit; null where there is none. */
  observed: number | null
  limit: number | null
}
