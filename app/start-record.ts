import { isDeepStrictEqual } from 'node:util'
import type { TSchema } from 'typebox'
import { DEFAULT_TENANT } from '../contracts/device.ts'
import type { Trail } from '../device-registry/audit/trail.ts'
import { SECTIONS, type Config } from './config-sections.ts'
import type { Target } from './targets.ts'

const MASK = '[masked]'
const START = 'platform.start'
const PROCESS = 'process'

/** Settings that differ from their defaults, by dotted path; secrets masked. */
export function changedSettings(config: Config): Record<string, unknown> {
  const changed: Record<string, unknown> = {}
  // The defaults are read from the schemas: to have a checker fill them in, each would have to be compiled once more.
  const compare = (path: string, schema: TSchema, value: unknown, usual: unknown): void => {
    const { properties } = schema as { properties?: Record<string, TSchema> }
    if (properties === undefined) {
      if (!isDeepStrictEqual(value, usual)) changed[path] = (schema as { secret?: boolean }).secret === true ? MASK : value
      return
    }
    for (const [key, inner] of Object.entries(properties)) {
      const ofParent = (usual as Record<string, unknown> | undefined)?.[key]
      compare(`${path}.${key}`, inner, (value as Record<string, unknown>)[key], ofParent ?? defaultOf(inner))
    }
  }
  for (const [name, schema] of Object.entries(SECTIONS)) compare(name, schema, config[name as keyof Config], defaultOf(schema))
  return changed
}

function defaultOf(schema: TSchema): unknown {
  return (schema as { default?: unknown }).default
}

/** Leaves in the audit trail that a process started, and with which settings: those of its last start beside those of this one, where they differ. */
export async function recordStart(trail: Trail, process: { id: string; targets: readonly Target[]; config: Config }): Promise<void> {
  const { id, targets, config } = process
  const after = { targets: [...targets], settings: changedSettings(config) }
  const last = await trail.list({ tenant: DEFAULT_TENANT, subject: `${PROCESS}/${id}`, action: START, limit: 1 })
  const before = last.items[0]?.after
  const isChanged = before !== undefined && !isDeepStrictEqual(before, after)
  await trail.record({
    tenant: DEFAULT_TENANT,
    actor: 'system',
    action: START,
    subject: { kind: PROCESS, id },
    ...(isChanged ? { before } : {}),
    after,
  })
}
