import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileSchema } from '../kernel/schema.ts'
import { crossCheckProvisioningConfig, ProvisioningConfigSchema } from './config.ts'
import { testConfig } from './testing/station.ts'

test('the defaults fit one another, and every key is described', () => {
  const checked = compileSchema(ProvisioningConfigSchema)({})
  assert.equal(checked.status, 'valid')
  if (checked.status === 'valid') assert.deepEqual(crossCheckProvisioningConfig(checked.value, 'provisioning'), [])
  for (const [key, schema] of Object.entries(ProvisioningConfigSchema.properties)) {
    assert.ok('description' in schema && 'default' in schema, key)
  }
})

test('bounds that cross are named, all at once', () => {
  const config = testConfig({ rsaBitsMin: 4_096, rsaBitsMax: 2_048, issuingLifetimeDays: 100, deviceLifetimeDays: 200, backdateMs: 0 })
  const keys = crossCheckProvisioningConfig(config, 'provisioning').map((fault) => fault.key)
  assert.deepEqual(keys, ['provisioning.rsaBitsMin', 'provisioning.deviceLifetimeDays', 'provisioning.serverLifetimeDays'])
  const short = crossCheckProvisioningConfig(testConfig({ deviceLifetimeDays: 0.001 }), 'provisioning')
  assert.deepEqual(
    short.map((fault) => fault.key),
    ['provisioning.backdateMs'],
  )
})

test('what cannot be a host name, an address or a URL is refused', () => {
  const check = compileSchema(ProvisioningConfigSchema)
  for (const value of [
    { serverNames: ['a b'] },
    { serverNames: [''] },
    { pkiUrl: 'ftp://x' },
    { pkiUrl: 'http://x?y' },
    { serverLifetimeDays: 367 },
    { unknown: 1 },
  ]) {
    assert.equal(check(value).status, 'invalid', JSON.stringify(value))
  }
  for (const value of [{ serverNames: ['a.example', '*.b.example', '::1', '10.0.0.1'] }, { pkiUrl: 'https://pki.example:8081/x' }]) {
    assert.equal(check(value).status, 'valid', JSON.stringify(value))
  }
})
