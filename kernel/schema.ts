import { Ajv2020 } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import type { ErrorObject, ValidateFunction } from 'ajv'
import type { Static, TSchema } from 'typebox'

/** One thing wrong with a value: where, what, and what is allowed instead. */
export interface SchemaFault {
  /** Dotted path from the root, empty for the root itself. */
  path: string
  problem: string
  allowed: string
}

export type CheckResult<T> = { status: 'valid'; value: T } | { status: 'invalid'; faults: SchemaFault[] }

/** Checkers as Ajv writes them: to make their code shorter takes as long as to write it, and a process starts with a hundred of them. */
const ajv = new Ajv2020({ allErrors: true, strict: false, useDefaults: true, code: { optimize: false } })
ajvFormats.default(ajv)

/** A checker of a TypeBox (JSON Schema 2020-12) schema, compiled once, at its first use: a process starts sooner. It fills in defaults and names every fault. */
export function compileSchema<S extends TSchema>(schema: S): (value: unknown) => CheckResult<Static<S>> {
  let validate: ValidateFunction | undefined
  return (value) => {
    validate ??= ajv.compile(schema)
    if (validate(value)) return { status: 'valid', value: value as Static<S> }
    return { status: 'invalid', faults: (validate.errors ?? []).map(toFault) }
  }
}

function toFault(error: ErrorObject): SchemaFault {
  const base = error.instancePath.split('/').slice(1).join('.')
  const params = error.params as Record<string, unknown>
  if (error.keyword === 'required') return { path: join(base, String(params.missingProperty)), problem: 'is missing', allowed: 'it must be present' }
  if (error.keyword === 'additionalProperties') return { path: join(base, String(params.additionalProperty)), problem: 'is not a known key', allowed: 'only documented keys' }
  if (error.keyword === 'enum') return { path: base, problem: 'is not one of the allowed values', allowed: (params.allowedValues as unknown[]).join(', ') }
  return { path: base, problem: error.message ?? 'is not valid', allowed: allowedOf(error) }
}

function allowedOf(error: ErrorObject): string {
  const params = error.params as Record<string, unknown>
  if (typeof params.type === 'string') return `a value of type ${params.type}`
  if (params.limit !== undefined) return `${String(params.comparison ?? 'up to')} ${String(params.limit)}`
  if (params.pattern !== undefined) return `text matching ${String(params.pattern)}`
  if (params.format !== undefined) return `a ${String(params.format)}`
  return error.message ?? 'see the documentation'
}

function join(base: string, key: string): string {
  return base === '' ? key : `${base}.${key}`
}
