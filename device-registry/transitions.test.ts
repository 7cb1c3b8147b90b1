import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import type { DeviceState } from '../contracts/device.ts'
import { ConflictError } from '../kernel/errors.ts'
import { deviceEvents, openStores, startRegistry } from './testing/stores.ts'
import { isLegalTransition, statesBefore } from './transitions.ts'

const STATES: readonly DeviceState[] = ['registered', 'provisioned', 'active', 'suspended', 'decommissioned']
const state = fc.constantFrom(...STATES)

it('knows the same ways forwards and backwards; nothing leaves the tombstone, nothing comes back to the beginning', () => {
  fc.assert(fc.property(state, state, (from, to) => statesBefore(to).includes(from) === isLegalTransition(from, to)))
  for (const to of STATES) assert.equal(isLegalTransition('decommissioned', to), false)
  assert.deepEqual(statesBefore('registered'), [])
  for (const from of STATES) {
    if (from !== 'decommissioned') assert.ok(isLegalTransition(from, 'decommissioned'), `${from} can be decommissioned`)
    assert.equal(isLegalTransition(from, from), false)
  }
})

it('a device in a registry only ever goes legal ways, whoever asks and however often, and each step is told once', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  let devices = 0
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(state, fc.constantFrom('provision' as const, 'connect' as const)), { maxLength: 12 }), async (steps) => {
      const id = `d${devices++}`
      await registry.ensureRegistered('default', id, undefined, 'user:t')
      const path: DeviceState[] = ['registered']
      for (const step of steps) {
        const from = path.at(-1) as DeviceState
        if (step === 'provision') await registry.markProvisioned('default', id, 'user:t')
        else if (step === 'connect') await registry.markActive('default', id)
        else {
          const legal = step === from || isLegalTransition(from, step)
          const asked = registry.transition('default', id, step, 'user:t')
          await (legal ? asked : assert.rejects(asked, (error: unknown) => error instanceof ConflictError && error.code === 'ILLEGAL_TRANSITION'))
        }
        const { state: now, version } = await registry.getDevice('default', id)
        if (now !== from) {
          assert.ok(isLegalTransition(from, now), `${from} became ${now}`)
          path.push(now)
        }
        assert.equal(version, path.length, 'a version per change')
      }
      const told = (await deviceEvents(stores.eventLog)).flatMap((event) => ('state' in event && event.device === id ? [event.state] : []))
      assert.deepEqual(told, path)
    }),
    { numRuns: 40 },
  )
})
