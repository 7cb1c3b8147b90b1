import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { functionsIn } from './testing/long-functions.ts'
import { isTestCode, projectFiles, readProjectFile, ROOT } from './testing/repository.ts'

/* What a linter does not see: how long things are, what must not be said, and that everything is where it belongs. */

const FILE_LINES_MAX = 500
const FUNCTION_LINES_MAX = 70
/** Functions that may be longer, each with its reason. */
const LONG_FUNCTIONS: ReadonlyMap<string, string> = new Map([])

/** The road, top to bottom, and what stands beside it. */
const FOLDERS = [
  'kernel',
  'contracts',
  'storage/event-log',
  'storage/series',
  'storage/documents',
  'broker',
  'ingest',
  'processing',
  'anomaly',
  'alerts',
  'agents',
  'device-registry',
  'provisioning',
  'dashboard/api',
  'dashboard/web',
  'app',
  'simulators',
  'cli',
  'test',
  'benchmarks',
  'docs/decisions',
]

/** Spelled so that this file does not hold them. */
const FORBIDDEN: { what: string; pattern: RegExp; allowedIn?: RegExp }[] = [
  { what: 'an open end', pattern: /\b(?:TO{1}DO|FIX{1}ME|X{3})\b/ },
  { what: 'a cast to any', pattern: /\bas\s+any\b/ },
  { what: 'a silenced compiler', pattern: /@ts-(?:ignore|nocheck|expect-error)/ },
  { what: 'printing past the log', pattern: /\bconsole\.log\b/, allowedIn: /^benchmarks\// },
]
const MACHINE_PATH = /(?:^|[\s"'`(=:])\/(?:work|root|Users|home\/[a-z][\w-]*)\//m
const REGISTRY_HOST =
  /registry\.(?:npmjs|yarnpkg)\.|(?:jsr|npmmirror|artifactory|jfrog|verdaccio)[\w.-]*\.(?:io|com|org|dev|local)\b|"resolved": "https?:/

const files = projectFiles()
const code = files.filter((file) => /\.(?:ts|svelte)$/.test(file))
const typescript = files.filter((file) => file.endsWith('.ts'))
const SELF = 'test/tidy.test.ts'

test('files are short', (t) => {
  const lengths = code.map((file) => ({ file, lines: readProjectFile(file).trimEnd().split('\n').length }))
  const own = lengths
    .filter(({ file }) => !isTestCode(file))
    .map(({ lines }) => lines)
    .sort((a, b) => a - b)
  t.diagnostic(
    `${own.length} files outside tests, ${own.reduce((sum, lines) => sum + lines, 0)} lines, median ${own[own.length >> 1]}, longest ${own.at(-1)}`,
  )
  assert.ok(own.length > 100, 'hardly any file was found')
  assert.deepEqual(
    lengths.filter(({ lines }) => lines > FILE_LINES_MAX),
    [],
  )
})

test('functions are short', (t) => {
  const functions = typescript.filter((file) => !isTestCode(file)).flatMap(functionsIn)
  const long = functions.filter(({ lines }) => lines > FUNCTION_LINES_MAX)
  t.diagnostic(`${functions.length} functions, longest ${Math.max(...functions.map(({ lines }) => lines))} lines`)
  assert.ok(functions.length > 500, 'hardly any function was found')
  assert.deepEqual(
    long.filter(({ name }) => !LONG_FUNCTIONS.has(name)),
    [],
  )
  const outdated = [...LONG_FUNCTIONS.keys()].filter((name) => !long.some((each) => each.name === name))
  assert.deepEqual(outdated, [], 'no longer an exception')
})

test('nothing is left open, silenced or printed past the log', () => {
  const found = code
    .filter((file) => file !== SELF)
    .flatMap((file) =>
      FORBIDDEN.filter(({ pattern, allowedIn }) => allowedIn?.test(file) !== true && pattern.test(readProjectFile(file))).map(
        ({ what }) => `${file}: ${what}`,
      ),
    )
  assert.deepEqual(found, [])
})

test('no file names a machine or a package registry', () => {
  const texts = files.filter((file) => file !== SELF && !/\.(?:png|jpg|ico|woff2?)$/.test(file))
  assert.deepEqual(
    texts.filter((file) => MACHINE_PATH.test(readProjectFile(file))),
    [],
    'a path of one machine',
  )
  assert.deepEqual(
    texts.filter((file) => REGISTRY_HOST.test(readProjectFile(file))),
    [],
    'a registry host',
  )
})

test('names of files are kebab-case', () => {
  const named = typescript.map((file) => file.split('/').at(-1) as string)
  assert.deepEqual(
    named.filter((name) => !/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z]+)*\.ts$/.test(name)),
    [],
  )
})

test('every folder of the road is there', () => {
  assert.deepEqual(
    FOLDERS.filter((folder) => !existsSync(join(ROOT, folder))),
    [],
  )
})

test('every file of routes is registered with the server', () => {
  const server = readProjectFile('dashboard/api/server.ts')
  const routes = typescript.filter((file) => file.startsWith('dashboard/api/routes/') && !isTestCode(file))
  assert.ok(routes.length > 5)
  for (const file of routes) {
    const [, names] = new RegExp(`import \\{([^}]+)\\} from './routes/${file.split('/').at(-1)}'`).exec(server) ?? []
    assert.ok(names !== undefined, `${file} is not imported`)
    const name = names.trim()
    assert.match(server, new RegExp(`^ +${name}\\(`, 'm'), `${name} is imported and never called`)
  }
})

test('every test file uses the runner, and lies where it is compiled and run', () => {
  const { include } = JSON.parse(readProjectFile('tsconfig.json')) as { include: string[] }
  const suites = files.filter((file) => /\.test\.[cm]?[jt]s$/.test(file))
  assert.ok(suites.length > 50)
  for (const file of suites) {
    assert.match(readProjectFile(file), /from '(?:node:test|\.[^']*\.contract\.ts)'/, `${file} runs nothing`)
    assert.ok(file.endsWith('.test.ts') && include.some((folder) => file.startsWith(`${folder}/`)), `${file} is never compiled`)
    assert.ok(!file.split('/').includes('web'), `${file} is passed over by test/run.mjs`)
  }
})
