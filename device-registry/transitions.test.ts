import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import type { AuditedAct } from '../contracts/audit.ts'
import type { DeviceState } from '../contracts/device.ts'
import { ConflictError } from '../kernel/errors.ts'
import type { Registry } from './registry.ts'
import { deviceEvents, openStores, startRegistry } from './testing/stores.ts'
import { isLegalTransition, statesBefore } from './transitions.ts'

const STATES: readonly DeviceState[] = [
  'registered',
  'provisioned',
  'active',
  'suspended',
  'quarantined',
  'decommissioning',
  'decommissioned',
]
const anyState = fc.constantFrom(...STATES)
const ROAD = ['registered', 'provisioned', 'active']
const HELD = ['suspended', 'quarantined']

it('knows the same ways forwards and backwards; nothing leaves the tombstone, and one way leads there', () => {
  fc.assert(fc.property(anyState, anyState, (from, to) => statesBefore(to).includes(from) === isLegalTransition(from, to)))
  for (const to of STATES) assert.equal(isLegalTransition('decommissioned', to), false)
  assert.deepEqual(statesBefore('decommissioned'), ['decommissioning'])
  assert.deepEqual(statesBefore('registered'), HELD, 'only whoever was held there comes back to the beginning')
  for (const from of STATES) {
    if (!from.startsWith('decommission')) assert.ok(isLegalTransition(from, 'decommissioning'), `${from} can be decommissioned`)
    assert.equal(isLegalTransition(from, from), false)
  }
})

/** The life of a device as the issue draws it, written anew. */
interface Model {
  state: DeviceState
  /** Where the device is on its road, whatever holds it. */
  road: string
  path: DeviceState[]
}

interface Real {
  registry: Registry
  id: string
  restart: () => Promise<void>
}

type Command = fc.AsyncCommand<Model, Real>

function enter(model: Model, state: DeviceState): void {
  if (model.state === state) return
  model.state = state
  if (ROAD.includes(state)) model.road = state
  model.path.push(state)
}

async function agree(model: Model, { registry, id }: Real): Promise<void> {
  assert.equal((await registry.getDevice('default', id)).state, model.state)
  assert.deepEqual((await registry.history('default', id)).map(({ to }) => to).toReversed(), model.path)
}

class Ask implements Command {
  readonly #to: DeviceState
  constructor(to: DeviceState) {
    this.#to = to
  }
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    const to = this.#to
    const asked = real.registry.transition('default', real.id, to, 'user:t', { why: 'a walk' })
    const target = to === 'active' && HELD.includes(model.state) ? (model.road as DeviceState) : to
    if (this.#isLegal(model, target)) {
      assert.equal((await asked).state, target)
      enter(model, target)
    } else await assert.rejects(asked, (error: unknown) => error instanceof ConflictError && error.code === 'ILLEGAL_TRANSITION')
    await agree(model, real)
  }
  #isLegal({ state, road }: Model, to: DeviceState): boolean {
    if (state === to) return true
    if (state === 'decommissioned') return false
    if (state === 'decommissioning') return to === 'decommissioned'
    if (to === 'decommissioning') return true
    if (to === 'decommissioned') return false
    if (HELD.includes(to)) return true
    if (HELD.includes(state)) return to === road
    return ROAD.indexOf(to) === ROAD.indexOf(state) + 1
  }
  toString(): string {
    return `to ${this.#to}`
  }
}

class Certificate implements Command {
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    const answer = await real.registry.markProvisioned('default', real.id, 'user:t')
    const isBarred = ['suspended', 'decommissioning', 'decommissioned'].includes(model.state)
    assert.equal(answer.status, isBarred ? 'refused' : 'provisioned')
    if (!isBarred && model.road === 'registered') {
      model.road = 'provisioned'
      if (model.state === 'registered') enter(model, 'provisioned')
    }
    await agree(model, real)
  }
  toString(): string {
    return 'certificate'
  }
}

class Connection implements Command {
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    await real.registry.markActive('default', real.id)
    if (model.road === 'provisioned' && model.state === 'provisioned') enter(model, 'active')
    else if (model.road === 'provisioned' && model.state === 'quarantined') model.road = 'active'
    await agree(model, real)
  }
  toString(): string {
    return 'connection'
  }
}

class Door implements Command {
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    const answer = await real.registry.ensureRegistered('default', real.id, undefined, 'system')
    const isLeaving = model.state.startsWith('decommission')
    assert.deepEqual(answer.status === 'refused' ? answer.reason : answer.created, isLeaving ? model.state : false)
    await agree(model, real)
  }
  toString(): string {
    return 'door'
  }
}

class Restart implements Command {
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    await real.restart()
    await agree(model, real)
  }
  toString(): string {
    return 'restart'
  }
}

it('no sequence of calls reaches a forbidden state; each step is told and recorded once, in order', async (t) => {
  const stores = await openStores(t)
  const acts: AuditedAct[] = []
  const auditTrail = { record: (act: AuditedAct) => Promise.resolve(void acts.push(act)) }
  let registry = await startRegistry({ ...stores, auditTrail })
  let devices = 0
  const walks = fc.commands(
    [
      anyState.map((to) => new Ask(to)),
      fc.constantFrom<DeviceState>('active', 'suspended', 'quarantined').map((to) => new Ask(to)),
      fc.constant(new Certificate()),
      fc.constant(new Connection()),
      fc.constant(new Door()),
      fc.constant(new Restart()),
    ],
    { maxCommands: 16 },
  )
  const check = fc.asyncProperty(walks, async (commands) => {
    const id = `d${devices++}`
    await registry.ensureRegistered('default', id, undefined, 'user:t')
    const model: Model = { state: 'registered', road: 'registered', path: ['registered'] }
    const restart = async (): Promise<void> => {
      await registry.stop()
      registry = await startRegistry({ ...stores, auditTrail })
      real.registry = registry
    }
    const real: Real = { registry, id, restart }
    await fc.asyncModelRun(() => ({ model, real }), commands)
    const told = (await deviceEvents(stores.eventLog)).flatMap((event) => ('state' in event && event.device === id ? [event.state] : []))
    const changes = told.filter((state, index) => index === 0 || state !== told[index - 1])
    assert.deepEqual(changes, model.path)
    const recorded = acts.filter(({ subject }) => subject.id === id).map(({ after }) => (after as { state: string }).state)
    assert.deepEqual(recorded, model.path)
  })
  await fc.assert(check, { numRuns: 60 })
})
