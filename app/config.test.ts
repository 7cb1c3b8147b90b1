import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { ConfigError, type ConfigFault } from '../kernel/errors.ts'
import { SECTIONS, type Config } from './config-sections.ts'
import { loadConfig, unknownVariables } from './config.ts'

function fileOf(t: TestContext, content: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'config-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'fleetpulse.config.json')
  writeFileSync(file, content)
  return file
}

const ABSENT = join(tmpdir(), 'no-such-folder', 'fleetpulse.config.json')

function load(t: TestContext, file: unknown, env: Record<string, string> = {}): Config {
  return loadConfig({ env, file: fileOf(t, typeof file === 'string' ? file : JSON.stringify(file)) })
}

function faultsOf(run: () => unknown): readonly ConfigFault[] {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.faults
  }
  return assert.fail('it was accepted')
}

test('with nothing said, every setting has its documented default', () => {
  const config = loadConfig({ env: {}, file: ABSENT })
  assert.deepEqual(Object.keys(config), Object.keys(SECTIONS))
  assert.equal(config.api.port, 8080)
  assert.equal(config.api.host, '127.0.0.1')
  assert.equal(config.platform.dataDirectory, './data')
})

test('the environment wins over the file, the file over the default; an empty variable says nothing', (t) => {
  const file = { api: { port: 1, host: '::1' }, platform: { logLevel: 'warn' } }
  const config = load(t, file, { FLEETPULSE_API_PORT: '2', FLEETPULSE_LOG_LEVEL: '', FLEETPULSE_DATA: '/elsewhere' })
  assert.equal(config.api.port, 2)
  assert.equal(config.api.host, '::1')
  assert.equal(config.platform.logLevel, 'warn')
  assert.equal(config.platform.dataDirectory, '/elsewhere')
  assert.equal(config.api.pageItemsMax, 1_000)
})

test('a variable is derived from section and key where none is fixed, and is read as the type of its setting', (t) => {
  const config = load(t, {}, { FLEETPULSE_PROCESSING_TICK_MS: '1e3', FLEETPULSE_WEBHOOKS_ALLOW_HTTP: '1' })
  assert.equal(config.processing.tickMs, 1_000)
  assert.equal(config.webhooks.allowHttp, true)
})

test('a list comes from commas or from JSON, and its faults name the variable', (t) => {
  const read = (text: string): unknown => load(t, {}, { FLEETPULSE_WEBHOOKS_ALLOWED_TARGETS: text }).webhooks.allowedTargets
  const networks = ['10.0.0.0/8', '192.168.0.0/16']
  assert.deepEqual(read(networks.join(', ')), networks)
  assert.deepEqual(read(JSON.stringify(networks)), networks)
  assert.match(faultsOf(() => read('[1]'))[0]?.key ?? '', /^webhooks\.allowedTargets\.0 \(FLEETPULSE_WEBHOOKS_ALLOWED_TARGETS\)$/)
})

test('all faults are told at once, each once, with the key, the variable, the value and what is allowed', (t) => {
  const file = { api: { port: 70_000, hsot: 'x' }, platform: { logLevel: 'loud' }, broken: {}, windows: [] }
  const faults = faultsOf(() => load(t, file, { FLEETPULSE_MQTTS_PORT: 'eighty', FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'maybe' }))
  assert.deepEqual(faults.map((fault) => fault.key).sort(), [
    'api.hsot',
    'api.port',
    'broken',
    'broker.mqttsPort (FLEETPULSE_MQTTS_PORT)',
    'platform.logLevel',
    'webhooks.allowHttp (FLEETPULSE_WEBHOOKS_ALLOW_HTTP)',
    'windows',
  ])
  const of = (key: string): ConfigFault => faults.find((fault) => fault.key.startsWith(key)) as ConfigFault
  assert.match(of('api.port').problem, /70000/)
  assert.match(of('api.port').allowed, /0 to 65535/)
  assert.match(of('broker.mqttsPort').problem, /"eighty"/)
  assert.match(of('platform.logLevel').allowed, /trace, debug, info/)
  assert.match(of('broken').allowed, /platform, broker/)
})

test('settings that do not fit together are refused', (t) => {
  const faults = faultsOf(() => load(t, { webhooks: { loopRetryInitialMs: 60_000, loopRetryMaxMs: 1 } }))
  assert.match(JSON.stringify(faults), /loopRetry/)
})

test('names that every object has are no settings', (t) => {
  const faults = faultsOf(() => load(t, '{"toString":{},"constructor":{},"__proto__":{"port":1}}'))
  assert.deepEqual(faults.map((fault) => fault.key).sort(), ['__proto__', 'constructor', 'toString'])
})

test('a file that is no JSON object, or that was named and is not there, is a fault', (t) => {
  for (const text of ['', '{', '[]', '1', 'null', '"x"']) assert.equal(faultsOf(() => load(t, text)).length, 1, text)
  assert.match(faultsOf(() => loadConfig({ env: {}, file: ABSENT, fileRequired: true }))[0]?.problem ?? '', /cannot be read/)
})

test('variables that set nothing are found', () => {
  const env = { FLEETPULSE_API_PROT: '1', FLEETPULSE_API_PORT: '1', FLEETPULSE_TOKEN: 'x', HOME: '/' }
  assert.deepEqual(unknownVariables(env), ['FLEETPULSE_API_PROT'])
})

test('a secret that is wrong is named and not printed', (t) => {
  const [fault] = faultsOf(() => load(t, {}, { FLEETPULSE_QUESTDB_PG_URL: 'nonsense://user:hunter2@host' }))
  assert.match(fault?.key ?? '', /^questdb\.pgUrl \(FLEETPULSE_QUESTDB_PG_URL\)$/)
  assert.doesNotMatch(JSON.stringify(fault), /hunter2/)
})
