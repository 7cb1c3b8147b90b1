import assert from 'node:assert/strict'
import { it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Device } from '../contracts/device.ts'
import { KnownDevices } from './known-devices.ts'

const DEVICES = 100_000
const DEVICE_BYTES_MAX = 500

it('holds a hundred thousand devices in little memory', (t) => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const heapBytes = (): number => {
    collectGarbage()
    return process.memoryUsage().heapUsed
  }
  const known = new KnownDevices()
  const before = heapBytes()
  for (let i = 0; i < DEVICES; i++) {
    // As documents come from a store: every text is one of its own.
    const text = `{"id":"device-${i}","tenant":"default","type":"generic","state":"active","labels":{},"createdAt":1763680000000,"updatedAt":1763680000000}`
    known.putDevice(JSON.parse(text) as Device)
  }
  const deviceBytes = (heapBytes() - before) / DEVICES
  t.diagnostic(`${deviceBytes.toFixed(0)} bytes a device`)
  assert.ok(deviceBytes < DEVICE_BYTES_MAX)
  assert.equal(known.device('default', `device-${DEVICES - 1}`)?.state, 'active')
})
