import { readFileSync } from 'node:fs'
import type { TSchema } from 'typebox'
import { ConfigError, describeError, type ConfigFault } from '../kernel/errors.ts'
import { compileSchema, type SchemaFault } from '../kernel/schema.ts'
import { crossCheck, SECTIONS, type Config } from './config-sections.ts'

/** File read when no other is named; absent is fine. */
export const CONFIG_FILE = 'fleetpulse.config.json'

export interface ConfigSources {
  env: Readonly<Record<string, string | undefined>>
  /** Path of the file; with `fileRequired` its absence is a fault. */
  file: string
  fileRequired?: boolean
}

type Json = Record<string, unknown>

/** The environment variable of a setting: fixed by its schema's `env`, else FLEETPULSE_<SECTION>_<KEY>. */
export function environmentName(section: string, key: string, schema: TSchema): string {
  const fixed = (schema as Json).env
  return typeof fixed === 'string' ? fixed : `FLEETPULSE_${snake(section)}_${snake(key)}`
}

/** Reads file and environment (which wins), fills in defaults, and reports every fault at once. */
export function loadConfig(sources: ConfigSources): Config {
  const faults: ConfigFault[] = []
  const file = readConfigFile(sources, faults)
  const config: Record<string, unknown> = {}
  for (const name of Object.keys(file)) {
    if (!Object.hasOwn(SECTIONS, name))
      faults.push({ key: name, problem: 'is not a known section', allowed: Object.keys(SECTIONS).join(', ') })
  }
  for (const [name, schema] of Object.entries(SECTIONS)) {
    config[name] = loadSection(name, schema, Object.hasOwn(file, name) ? file[name] : undefined, sources.env, faults)
  }
  if (faults.length === 0) faults.push(...crossCheck(config as Config))
  if (faults.length > 0) throw new ConfigError(faults)
  return config as Config
}

/** Variables that are no settings: who runs a command, and where. */
const OTHER_VARIABLES = [
  'FLEETPULSE_TOKEN',
  'FLEETPULSE_DEBUG',
  'FLEETPULSE_REQUIRE_TOOLS',
  'FLEETPULSE_CA_OLD_PASSPHRASE',
  'FLEETPULSE_SEMI_SPACE_MB',
]

/** FLEETPULSE_* variables that set nothing: a typing error, or a setting of another version. */
export function unknownVariables(env: ConfigSources['env']): string[] {
  const known = new Set(OTHER_VARIABLES)
  const collect = (section: string, path: readonly string[], schema: TSchema): void => {
    for (const [key, property] of Object.entries(propertiesOf(schema) ?? {})) {
      if (propertiesOf(property) !== undefined) collect(section, [...path, key], property)
      else known.add(environmentName(section, [...path, key].join('_'), property))
    }
  }
  for (const [name, schema] of Object.entries(SECTIONS)) collect(name, [], schema)
  return Object.keys(env).filter((name) => name.startsWith('FLEETPULSE_') && !known.has(name))
}

function readConfigFile(sources: ConfigSources, faults: ConfigFault[]): Json {
  let text: string
  try {
    text = readFileSync(sources.file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && sources.fileRequired !== true) return {}
    faults.push({ key: sources.file, problem: `cannot be read: ${describeError(error)}`, allowed: 'a readable JSON file' })
    return {}
  }
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed as Json
    faults.push({ key: sources.file, problem: 'is not a JSON object', allowed: 'an object with one key per section' })
  } catch (error) {
    faults.push({ key: sources.file, problem: `is not JSON: ${describeError(error)}`, allowed: 'an object with one key per section' })
  }
  return {}
}

function loadSection(name: string, schema: TSchema, fromFile: unknown, env: ConfigSources['env'], faults: ConfigFault[]): unknown {
  const isObject = typeof fromFile === 'object' && fromFile !== null && !Array.isArray(fromFile)
  if (fromFile !== undefined && !isObject) faults.push({ key: name, problem: 'is not an object', allowed: 'an object of settings' })
  const values = isObject ? structuredClone(fromFile as Json) : {}
  const variables = new Map<string, string>()
  applyEnvironment(name, [], schema, values, env, variables)
  const checked = compileSchema(schema)(values)
  if (checked.status === 'valid') return checked.value
  for (const fault of onePerSetting(checked.faults)) {
    const variable = variableOf(fault.path, variables)
    const value = fault.path.split('.').reduce<unknown>((inner, key) => (inner as Json | undefined)?.[key], values)
    const shown =
      value === undefined || typeof value === 'object' || isSecret(schemaAt(schema, fault.path)) ? '' : `${JSON.stringify(value)} `
    const key = `${name}.${fault.path}${variable === undefined ? '' : ` (${variable})`}`
    const choices = choicesOf(schemaAt(schema, fault.path))
    const problem = choices === undefined ? fault.problem : 'is not one of the allowed values'
    faults.push({ key, problem: `${shown}${problem}`, allowed: choices?.join(', ') ?? allowedOf(schema, fault.path, fault.allowed) })
  }
  return undefined
}

/** A value that fits none of several schemas has a fault for each of them; a person has one setting to mend. */
function onePerSetting(faults: readonly SchemaFault[]): SchemaFault[] {
  return [...new Map(faults.toReversed().map((fault) => [fault.path, fault])).values()].toReversed()
}

/** The variable that set a path or what is around it: a list comes whole from one variable. */
function variableOf(path: string, variables: ReadonlyMap<string, string>): string | undefined {
  const keys = path.split('.')
  for (let length = keys.length; length > 0; length--) {
    const variable = variables.get(keys.slice(0, length).join('.'))
    if (variable !== undefined) return variable
  }
  return undefined
}

function schemaAt(schema: TSchema, path: string): TSchema | undefined {
  return path.split('.').reduce<TSchema | undefined>((inner, key) => (inner === undefined ? undefined : propertiesOf(inner)?.[key]), schema)
}

/** A password, or an address that may hold one: its value is never printed. */
function isSecret(schema: TSchema | undefined): boolean {
  return (schema as { secret?: boolean } | undefined)?.secret === true
}

/** The values of a setting that takes one of a list. */
function choicesOf(schema: TSchema | undefined): unknown[] | undefined {
  const { anyOf } = (schema ?? {}) as { anyOf?: { const?: unknown }[] }
  return anyOf?.every((each) => each.const !== undefined) === true ? anyOf.map((each) => each.const) : undefined
}

/** Puts what the environment says over what the file says; remembers which variable set which path. */
function applyEnvironment(
  section: string,
  path: readonly string[],
  schema: TSchema,
  values: Json,
  env: ConfigSources['env'],
  variables: Map<string, string>,
): void {
  for (const [key, property] of Object.entries(propertiesOf(schema) ?? {})) {
    const here = [...path, key]
    if (propertiesOf(property) !== undefined) {
      const inner = typeof values[key] === 'object' && values[key] !== null ? (values[key] as Json) : {}
      applyEnvironment(section, here, property, inner, env, variables)
      if (Object.keys(inner).length > 0) values[key] = inner
      continue
    }
    const variable = environmentName(section, here.join('_'), property)
    const text = env[variable]
    if (text === undefined || text === '') continue
    variables.set(here.join('.'), variable)
    values[key] = fromText(text, property)
  }
}

function propertiesOf(schema: TSchema): Record<string, TSchema> | undefined {
  return (schema as unknown as { properties?: Record<string, TSchema> }).properties
}

/** What a setting may be, from its schema: range or list, then what it is for. */
function allowedOf(schema: TSchema, path: string, fallback: string): string {
  const property = schemaAt(schema, path) as Json | undefined
  if (property === undefined) return fallback
  const range =
    property.minimum === undefined && property.maximum === undefined
      ? ''
      : ` from ${String(property.minimum ?? '-∞')} to ${String(property.maximum ?? '∞')}`
  const type = typeof property.type === 'string' ? property.type : fallback
  return `${type}${range} (${String(property.description ?? '')})`
}

function fromText(text: string, schema: TSchema): unknown {
  const alternatives = ((schema as Json).anyOf as Json[] | undefined) ?? [schema as Json]
  const types = alternatives.map((alternative) => alternative.type)
  if ((types.includes('integer') || types.includes('number')) && text.trim() !== '' && !Number.isNaN(Number(text))) return Number(text)
  if (types.includes('boolean')) return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : text
  if (types.includes('array') && !text.trimStart().startsWith('[')) return text.split(',').map((item) => item.trim())
  if (types.includes('array') || types.includes('object')) {
    try {
      return JSON.parse(text) as unknown
    } catch {
      return text // the schema check then says that it is no array or object, with the text
    }
  }
  return text
}

function snake(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()
}
