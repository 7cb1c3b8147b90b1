import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadConfig } from './config.ts'
import { riskySettings } from './risky-settings.ts'

const risksOf = (env: Record<string, string>): string[] =>
  riskySettings(loadConfig({ env, file: '/nowhere/fleetpulse.config.json' })).map(({ setting }) => setting)

test('the defaults are no risk, and each setting that lets in more is one', () => {
  assert.deepEqual(risksOf({}), [])
  assert.deepEqual(risksOf({ FLEETPULSE_API_HOST: 'localhost', FLEETPULSE_OPERATIONS_HOST: '::1' }), [])
  const cases: [string, Record<string, string>][] = [
    ['api.host', { FLEETPULSE_API_HOST: '0.0.0.0' }],
    ['platform.operationsHost', { FLEETPULSE_OPERATIONS_HOST: '10.0.0.1' }],
    ['broker.lab.port', { FLEETPULSE_LAB_MQTT_PORT: '1883' }],
    ['webhooks.allowHttp', { FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'true' }],
    ['webhooks.allowPrivateTargets', { FLEETPULSE_WEBHOOKS_ALLOW_PRIVATE_TARGETS: 'true' }],
    ['provisioning.deviceLifetimeDays', { FLEETPULSE_PROVISIONING_DEVICE_LIFETIME_DAYS: '1000' }],
    ['provisioning.tokenLifetimeMs', { FLEETPULSE_PROVISIONING_TOKEN_LIFETIME_MS: String(60 * 86_400_000) }],
    ['mqttDoor.unknownDevices', { FLEETPULSE_MQTT_DOOR_URL: 'mqtt://localhost', FLEETPULSE_MQTT_DOOR_UNKNOWN_DEVICES: 'register' }],
    ['documents.sealKeys', { FLEETPULSE_DOCUMENTS_ENGINE: 'mongodb', FLEETPULSE_MONGODB_URL: 'mongodb://localhost' }],
  ]
  const sealed = { FLEETPULSE_DOCUMENTS_SEAL_KEYS_FILE: '/run/secrets/seal-keys' }
  assert.deepEqual(risksOf({ FLEETPULSE_DOCUMENTS_ENGINE: 'mongodb', FLEETPULSE_MONGODB_URL: 'mongodb://localhost', ...sealed }), [])
  for (const [setting, env] of cases) assert.deepEqual(risksOf(env), [setting])
})
