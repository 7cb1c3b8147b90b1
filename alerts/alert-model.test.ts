import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { AlertState } from '../contracts/alert.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import { FleetpulseError } from '../kernel/errors.ts'
import { VirtualClock } from '../kernel/time.ts'
import type { AlertAction, ActionArguments } from './alert-actions.ts'
import { ALERTS_COLLECTION, type AlertDocument, type StoredAlert } from './alert-document.ts'
import { Alerts } from './alerts.ts'
import { alertChanges, alertsOptions, anomaly, anomalyMessage, openEngines, operator, settled, T0, type Engines } from './alerts-testing.ts'

/* An alert's life against a model of it, in any order of anomalies, acts, time and restarts; and what must hold whatever races. */

const QUIET_MS = 10_000
const SEED = process.env.TEST_SEED === undefined ? {} : { seed: Number(process.env.TEST_SEED) }

/** What the model says of the newest alert of the one cause. */
interface Model {
  state: AlertState | 'none'
  alerts: number
  clearedAt: number | null
  snoozedUntil: number | null
  suppressed: boolean
  silencedUntil: number
}

class Real {
  readonly engines: Engines
  readonly clock = new VirtualClock(T0)
  alerts: Alerts

  constructor(engines: Engines) {
    this.engines = engines
    this.alerts = this.#build()
  }

  #build(): Alerts {
    const limits = { resolveQuietMs: QUIET_MS, flapCount: 0, escalationStepsMs: [30_000], sweepIntervalMs: 5_000 }
    return new Alerts(alertsOptions(this.engines, limits, this.clock))
  }

  async restart(): Promise<void> {
    await this.alerts.stop()
    this.alerts = this.#build()
    await this.alerts.start()
  }

  async say(phase: Anomaly['phase'], count = 1): Promise<void> {
    await this.clock.advance(1)
    const said = Array.from({ length: count }, () => anomaly({ phase, ts: this.clock.nowMs() }))
    await Promise.all(said.map((each) => this.engines.eventLog.append('anomalies', [anomalyMessage(each)])))
    await settled(this.engines.eventLog, ['pump-1'])
  }

  async documents(): Promise<StoredAlert[]> {
    const collection = await this.engines.documents.collection<AlertDocument>(ALERTS_COLLECTION)
    return collection.find({ metric: 'temperature' }, { sort: { generation: 1 } })
  }

  async act(action: AlertAction, on: ActionArguments = {}): Promise<'done' | 'refused'> {
    const newest = (await this.documents()).at(-1)
    if (newest === undefined) return 'refused'
    try {
      await this.alerts.service.act(operator, action, { id: newest.id, note: 'x', ...on })
      return 'done'
    } catch (error) {
      if (error instanceof FleetpulseError && error.fault === 'caller') return 'refused'
      throw error
    }
  }
}

/** One that is not resolved at most, generations without gap, and every change told under one number, without gap. */
async function assertSound(real: Real): Promise<void> {
  const documents = await real.documents()
  assert.ok(documents.filter(({ state }) => state !== 'resolved').length <= 1, 'two alerts of one cause are open')
  assert.deepEqual(
    documents.map(({ generation }) => generation),
    documents.map((_, i) => i + 1),
  )
  const changes = await alertChanges(real.engines.eventLog)
  for (const { id, sequence } of documents) {
    // Two who change it at once may each append the other's message too, under its one id.
    const told = [...new Set(changes.filter(({ alert }) => alert.id === id).map((change) => `${change.sequence} ${change.change}`))].map(
      (each) => Number.parseInt(each),
    )
    assert.deepEqual(
      told.toSorted((a, b) => a - b),
      Array.from({ length: sequence }, (_, i) => i + 1),
      `changes of ${id}`,
    )
  }
  for (const { state, dueAt, times } of documents) {
    const due = Object.values(times).filter((time) => time !== null)
    assert.equal(dueAt, due.length === 0 ? null : Math.min(...due))
    if (state === 'resolved') assert.equal(dueAt, null)
  }
}

async function assertAgrees(model: Model, real: Real): Promise<void> {
  await assertSound(real)
  const documents = await real.documents()
  const newest = documents.at(-1)
  assert.equal(documents.length, model.alerts)
  assert.equal(newest?.state ?? 'none', model.state)
  if (newest === undefined) return
  assert.equal(newest.suppressedBy !== null, model.suppressed)
  assert.equal(newest.snoozedUntil, model.snoozedUntil)
}

type Command = fc.AsyncCommand<Model, Real>

function command(name: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return {
    check: () => true,
    run: async (model, real) => {
      await run(model, real)
      await assertAgrees(model, real)
    },
    toString: () => name,
  }
}

const isActive = ({ state }: Model): boolean => state === 'open' || state === 'acknowledged'
const FRESH = { clearedAt: null, snoozedUntil: null, suppressed: false, silencedUntil: 0 }

const raise = command('raise', async (model, real) => {
  await real.say('raised')
  if (isActive(model)) model.clearedAt = null
  else Object.assign(model, FRESH, { state: 'open', alerts: model.alerts + 1 })
})
const clear = command('clear', async (model, real) => {
  await real.say('cleared')
  if (isActive(model)) model.clearedAt ??= real.clock.nowMs()
})
const restart = command('restart', (_model, real) => real.restart())

function act(
  action: AlertAction,
  allowed: (model: Model) => boolean,
  effect: (model: Model, nowMs: number) => void,
  on?: (nowMs: number) => ActionArguments,
): Command {
  return command(action, async (model, real) => {
    const nowMs = real.clock.nowMs()
    const expected = model.state !== 'none' && allowed(model) ? 'done' : 'refused'
    assert.equal(await real.act(action, on?.(nowMs)), expected, action)
    if (expected === 'done') effect(model, nowMs)
  })
}

const ACTS: Command[] = [
  act(
    'acknowledge',
    ({ state }) => state === 'open',
    (model) => (model.state = 'acknowledged'),
  ),
  act('resolve', isActive, (model) => Object.assign(model, { state: 'resolved', clearedAt: null, snoozedUntil: null })),
  act(
    'reopen',
    ({ state }) => state === 'resolved',
    (model) => Object.assign(model, { state: 'open', clearedAt: null }),
  ),
  act(
    'suppress',
    (model) => isActive(model) && !model.suppressed,
    (model) => (model.suppressed = true),
  ),
  act(
    'comment',
    () => true,
    () => undefined,
  ),
  act(
    'assign',
    isActive,
    () => undefined,
    () => ({ assignee: 'ben' }),
  ),
]
const snooze = (ms: number): Command =>
  act(
    'snooze',
    isActive,
    (model, nowMs) => (model.snoozedUntil = nowMs + ms),
    (nowMs) => ({ untilMs: nowMs + ms }),
  )
const silence = (ms: number): Command =>
  act(
    'silence',
    isActive,
    (model, nowMs) => (model.silencedUntil = nowMs + ms),
    (nowMs) => ({ untilMs: nowMs + ms }),
  )
const restore = command('restore', async (model, real) => {
  const nowMs = real.clock.nowMs()
  const heldBack = model.suppressed || model.silencedUntil > nowMs || (model.snoozedUntil ?? 0) > nowMs
  assert.equal(await real.act('restore'), isActive(model) && heldBack ? 'done' : 'refused')
  if (isActive(model) && heldBack) Object.assign(model, { suppressed: false, silencedUntil: 0, snoozedUntil: null })
})
const pass = (ms: number): Command =>
  command(`pass ${ms}`, async (model, real) => {
    for (const end = real.clock.nowMs() + ms; real.clock.nowMs() < end;) {
      await real.clock.advance(1_000)
      await real.alerts.sweeping()
      await real.alerts.sweep()
      const nowMs = real.clock.nowMs()
      if (isActive(model) && model.clearedAt !== null && model.clearedAt + QUIET_MS <= nowMs)
        Object.assign(model, { state: 'resolved', snoozedUntil: null })
      if (isActive(model) && model.snoozedUntil !== null && model.snoozedUntil <= nowMs)
        Object.assign(model, { state: 'open', snoozedUntil: null })
    }
  })

const RACERS: readonly AlertAction[] = ['acknowledge', 'resolve', 'reopen', 'suppress', 'restore', 'comment']
/** Many at once: which of them win nobody can say, so the model takes over how it ended. */
const race = (actions: readonly AlertAction[], raised: number): Command =>
  command(`race ${actions.join(' ')} with ${raised} anomalies`, async (model, real) => {
    await Promise.all([...actions.map((action) => real.act(action)), real.say('raised', raised)])
    await real.alerts.sweep()
    const documents = await real.documents()
    const newest = documents.at(-1)
    if (newest === undefined) return
    const { state, snoozedUntil, suppressedBy, silencedUntil, times } = newest
    const clearedAt = times.resolve === null ? null : times.resolve - QUIET_MS
    Object.assign(model, {
      state,
      snoozedUntil,
      alerts: documents.length,
      suppressed: suppressedBy !== null,
      silencedUntil: silencedUntil ?? 0,
      clearedAt,
    })
  })

test('an alert lives as its model does, whatever happens in whatever order', async () => {
  const span = fc.integer({ min: 1, max: 25 }).map((seconds) => seconds * 1_000)
  const commands = fc.commands(
    [
      fc.constant(raise),
      fc.constant(clear),
      fc.constant(restart),
      fc.constant(restore),
      fc.constantFrom(...ACTS),
      span.map(pass),
      span.map(snooze),
      span.map(silence),
      fc
        .tuple(fc.array(fc.constantFrom(...RACERS), { minLength: 2, maxLength: 8 }), fc.integer({ min: 0, max: 3 }))
        .map(([actions, raised]) => race(actions, raised)),
    ],
    { maxCommands: 40 },
  )
  await fc.assert(
    fc.asyncProperty(commands, async (cmds) => {
      const engines = await openEngines(1)
      const real = new Real(engines)
      try {
        await real.alerts.start()
        const model: Model = { state: 'none', alerts: 0, ...FRESH }
        await fc.asyncModelRun(() => ({ model, real }), cmds)
      } finally {
        await real.alerts.stop()
        await engines.dispose()
      }
    }),
    { numRuns: 50, endOnFailure: true, ...SEED },
  )
})
