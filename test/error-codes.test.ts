import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  AccessError,
  ConfigError,
  ConflictError,
  EnvironmentError,
  InternalError,
  InvalidInputError,
  LimitError,
  NotFoundError,
  StoreError,
  TimeoutError,
} from '../kernel/errors.ts'
import { raisedCodes } from './testing/raised-codes.ts'
import { readProjectFile } from './testing/repository.ts'

const PAGE = 'docs/errors.md'
const raised = raisedCodes()

/** Rows of the page: code → whose fault. */
function documented(): Map<string, string> {
  const rows = [...readProjectFile(PAGE).matchAll(/^\| `([A-Z0-9_]+)` \| ([a-z]+) \| (.+) \| (.+) \|$/gm)]
  const faults = new Map<string, string>()
  for (const [, code, fault] of rows) {
    assert.ok(!faults.has(code as string), `${code} has two rows`)
    faults.set(code as string, fault as string)
  }
  return faults
}

/** Whose fault the classes of the family say it is. */
const FAULTS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    new InternalError(''),
    new InvalidInputError(''),
    new NotFoundError(''),
    new ConflictError(''),
    new ConfigError([]),
    new EnvironmentError('X', ''),
    new StoreError('STORE_FULL', ''),
    new TimeoutError(''),
    new LimitError(''),
    new AccessError('FORBIDDEN', ''),
  ].map((error) => [error.name, error.fault]),
)

test('every error code in the sources is in docs/errors.md, and the page names no other', () => {
  assert.ok(raised.length > 60, `only ${raised.length} places were found: the search does not see the code any more`)
  const codes = new Set(raised.map(({ code }) => code))
  const page = documented()
  const undocumented = [...codes]
    .filter((code) => !page.has(code))
    .map((code) => `${code} (${raised.find((place) => place.code === code)?.file})`)
  assert.deepEqual(undocumented, [], 'raised and not documented')
  assert.deepEqual(
    [...page.keys()].filter((code) => !codes.has(code)),
    [],
    'documented and never raised',
  )
})

test('the page says whose fault an error is as its class does', () => {
  const page = documented()
  for (const { code, errorClass, file } of raised) {
    const fault = errorClass === undefined ? undefined : FAULTS[errorClass]
    if (fault !== undefined) assert.equal(page.get(code), fault, `${code}, raised as ${errorClass} in ${file}`)
  }
})

test('the page keeps its codes in order', () => {
  const codes = [...documented().keys()]
  assert.deepEqual(codes, codes.toSorted())
})
