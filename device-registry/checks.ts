import { DeviceSchema, DeviceTypeSchema, type Device, type DeviceType } from '../contracts/device.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import { compileSchema, type CheckResult } from '../kernel/schema.ts'
import { WHY_CHARACTERS_MAX } from './steps.ts'

const LABEL_NAME_CHARS_MAX = 64
const LABEL_VALUE_CHARS_MAX = 256

const checkDeviceSchema = compileSchema(DeviceSchema)
const checkTypeSchema = compileSchema(DeviceTypeSchema)

/** Throws InvalidInputError naming each field, whoever the caller is: what is stored here goes to every door. */
export function checkDevice(device: Device, labelsMax: number): void {
  refuse('device', checkDeviceSchema(device))
  checkLabels(device.labels, labelsMax)
}

/** Throws InvalidInputError. */
export function checkLabels(labels: Readonly<Record<string, string>>, labelsMax: number): void {
  const entries = Object.entries(labels)
  if (entries.length > labelsMax) throw invalid('labels', `${entries.length} labels, allowed are ${labelsMax}`)
  for (const [name, value] of entries) {
    if (name === '' || name.length > LABEL_NAME_CHARS_MAX)
      throw invalid('labels', `a name of ${name.length} characters, allowed are 1 to ${LABEL_NAME_CHARS_MAX}`)
    if (typeof value !== 'string' || value.length > LABEL_VALUE_CHARS_MAX) {
      throw invalid(`labels.${name}`, `must be text of at most ${LABEL_VALUE_CHARS_MAX} characters`)
    }
  }
}

/** Throws InvalidInputError. */
export function checkWhy(why: string | undefined): void {
  if (why !== undefined && why.length > WHY_CHARACTERS_MAX)
    throw invalid('why', `${why.length} characters, allowed are ${WHY_CHARACTERS_MAX}`)
}

/** Throws InvalidInputError naming each field. */
export function checkType(type: DeviceType): void {
  refuse('device type', checkTypeSchema(type))
  for (const [metric, { kind, min, max }] of Object.entries(type.metrics)) {
    if (kind !== 'number' && (min !== undefined || max !== undefined))
      throw invalid(`metrics.${metric}`, `min and max are for numbers, this is a ${kind}`)
    if (min !== undefined && max !== undefined && min > max) throw invalid(`metrics.${metric}`, `min ${min} is more than max ${max}`)
  }
}

function refuse(what: string, result: CheckResult<unknown>): void {
  if (result.status === 'valid') return
  const faults = result.faults.map(({ path, problem, allowed }) => `${path}: ${problem} (${allowed})`)
  throw new InvalidInputError(`not a ${what}: ${faults.join('; ')}`, { details: { field: result.faults[0]?.path ?? '' } })
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(`${field}: ${problem}`, { details: { field } })
}
