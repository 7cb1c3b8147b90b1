export const KEY_ROLES = ['viewer', 'operator', 'admin'] as const
export type KeyRole = (typeof KEY_ROLES)[number]

/** An API key as it is seen: never its secret. */
export interface ApiKey {
  id: string
  name: string
  role: KeyRole
  scopes: string[]
  createdBy: string
  createdAt: number
  expiresAt: number
  lastUsedAt: number | null
  revokedAt: number | null
  revokedBy: string | null
}

export interface NewApiKey {
  name: string
  role: KeyRole
  scopes?: string[]
  lifetimeMs?: number
}
