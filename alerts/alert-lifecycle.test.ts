import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { Anomaly } from '../contracts/anomaly.ts'
import { AccessError, ConflictError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import { VirtualClock } from '../kernel/time.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import type { AlertView } from './alert-service.ts'
import { Alerts } from './alerts.ts'
import {
  alertChanges,
  alertsOptions,
  anomaly,
  anomalyMessage,
  openEngines,
  operator,
  settled,
  stranger,
  T0,
  until,
  viewer,
  type Engines,
} from './alerts-testing.ts'

let engines: Engines
let clock: VirtualClock
let alerts: Alerts
beforeEach(async () => {
  engines = await openEngines(1)
  clock = new VirtualClock(T0)
  alerts = new Alerts(alertsOptions(engines, {}, clock))
  await alerts.start()
})
afterEach(async () => {
  await alerts.stop()
  await engines.dispose()
})

async function say(changes: Partial<Anomaly> = {}): Promise<void> {
  await engines.eventLog.append('anomalies', [anomalyMessage(anomaly(changes))])
  await settled(engines.eventLog, ['pump-1'])
}

async function listed(): Promise<AlertView[]> {
  const { items } = await alerts.service.list(operator)
  return items.filter((alert) => alert.metric !== 'mark').toSorted((a, b) => a.startedAt - b.startedAt)
}

async function only(): Promise<AlertView> {
  const items = await listed()
  assert.equal(items.length, 1)
  return items[0] as AlertView
}

/** Lets time go on, second by second, because a sweep that waits for the disk sets its next timer only afterwards. */
function soon<T>(what: string, condition: () => Promise<T>): Promise<NonNullable<T>> {
  return until(what, async () => {
    await clock.advance(1_000)
    return condition()
  })
}

describe('alert lifecycle', () => {
  it('resolves a cleared alert after the quiet time, also through a restart', async () => {
    await say()
    await say({ phase: 'cleared', ts: T0 + 1_000 })
    await clock.advance(59_000)
    assert.equal((await only()).state, 'open')
    await alerts.stop()
    alerts = new Alerts(alertsOptions(engines, {}, clock))
    await alerts.start()
    await soon('it is resolved', async () => (await only()).state === 'resolved')
    const alert = await only()
    assert.equal(alert.history[0]?.by, 'system')
    const changes = await until('it is told', async () => {
      const found = (await alertChanges(engines.eventLog)).filter((change) => change.alert.id === alert.id)
      return found.length === 2 ? found : null
    })
    assert.deepEqual(
      changes.map((change) => [change.sequence, change.change]),
      [
        [1, 'opened'],
        [2, 'resolved'],
      ],
    )
  })

  it('goes on with the same alert when the cause comes back within the quiet time', async () => {
    await say()
    await say({ phase: 'cleared', ts: T0 + 1_000 })
    await clock.advance(30_000)
    await say({ ts: T0 + 31_000 })
    await clock.advance(120_000)
    const alert = await only()
    assert.equal(alert.state, 'open')
    assert.equal(alert.anomalyCount, 2)
  })

  it('measures the quiet time in event time too, for recordings replayed fast', async () => {
    await say()
    await say({ phase: 'cleared', ts: T0 + 1_000 })
    await say({ ts: T0 + 61_000 })
    const [first, second] = await listed()
    assert.deepEqual([first?.state, second?.state], ['resolved', 'open'])
    assert.equal(second?.startedAt, T0 + 61_000)
  })

  it('resolves at once when configured without quiet time', async () => {
    await alerts.stop()
    alerts = new Alerts(alertsOptions(engines, { resolveQuietMs: 0 }, clock))
    await alerts.start()
    await say()
    await say({ phase: 'cleared' })
    assert.equal((await only()).state, 'resolved')
  })

  it('ignores that something cleared which never was', async () => {
    await say({ phase: 'cleared' })
    assert.deepEqual(await listed(), [])
  })

  it('removes resolved alerts after their retention', async () => {
    await alerts.stop()
    alerts = new Alerts(alertsOptions(engines, { resolvedRetentionMs: 86_400_000, sweepIntervalMs: 60_000 }, clock))
    await alerts.start()
    await say()
    await alerts.service.resolve(operator, { id: (await only()).id })
    await clock.advance(86_400_000)
    assert.equal((await listed()).length, 1)
    await clock.advance(3_600_000)
    await soon('it is gone', async () => (await listed()).length === 0)
  })
})

describe('alert service', () => {
  it('acknowledges and resolves with notes, and tells every change in order', async () => {
    await say()
    const { id } = await only()
    const acknowledged = await alerts.service.acknowledge(operator, { id, note: 'looking' })
    assert.equal(acknowledged.state, 'acknowledged')
    const silenced = await alerts.service.silence(operator, { id, untilMs: T0 + 3_600_000 })
    assert.equal(silenced.silencedUntil, T0 + 3_600_000)
    const resolved = await alerts.service.resolve(operator, { id, note: 'valve replaced' })
    assert.deepEqual([resolved.state, resolved.resolvedAt], ['resolved', T0])
    assert.deepEqual(resolved.history[0], { at: T0, by: 'user:ana', action: 'resolved', note: 'valve replaced' })
    const changes = (await alertChanges(engines.eventLog)).filter((change) => change.alert.id === id)
    assert.deepEqual(
      changes.map((change) => change.change),
      ['opened', 'acknowledged', 'silenced', 'resolved'],
    )
    assert.deepEqual(
      changes.map((change) => change.sequence),
      [1, 2, 3, 4],
    )
    assert.equal((await alerts.service.get(operator, id)).version, resolved.version)
  })

  it('keeps an acknowledged alert acknowledged when it repeats, and opens another one after it resolved', async () => {
    await say()
    const { id } = await only()
    await alerts.service.acknowledge(operator, { id })
    await say()
    assert.deepEqual([(await only()).state, (await only()).anomalyCount], ['acknowledged', 2])
    await alerts.service.resolve(operator, { id })
    await say({ ts: T0 + 9 })
    assert.deepEqual(
      (await listed()).map((alert) => alert.state),
      ['resolved', 'open'],
    )
  })

  it('refuses what the state, the version or the input forbid', async () => {
    await say()
    const { id, version } = await only()
    await assert.rejects(alerts.service.acknowledge(operator, { id, expectedVersion: version + 1 }), ConflictError)
    await alerts.service.acknowledge(operator, { id, expectedVersion: version })
    await assert.rejects(alerts.service.acknowledge(operator, { id }), ConflictError)
    await assert.rejects(alerts.service.silence(operator, { id, untilMs: T0 - 1 }), InvalidInputError)
    await assert.rejects(alerts.service.silence(operator, { id, untilMs: T0 + 400 * 86_400_000 }), InvalidInputError)
    await assert.rejects(alerts.service.resolve(operator, { id, note: 'x'.repeat(2_001) }), InvalidInputError)
    await alerts.service.resolve(operator, { id })
    await assert.rejects(alerts.service.resolve(operator, { id }), ConflictError)
    await assert.rejects(alerts.service.acknowledge(operator, { id }), ConflictError)
    await assert.rejects(alerts.service.silence(operator, { id, untilMs: T0 + 1_000 }), ConflictError)
  })

  it('lets one of many acknowledge at the same time', async () => {
    await say()
    const { id } = await only()
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => alerts.service.acknowledge(operator, { id })))
    assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1)
  })

  it('asks who acts, and never shows a tenant to another', async () => {
    await say()
    const { id } = await only()
    await assert.rejects(alerts.service.acknowledge(viewer, { id }), AccessError)
    assert.equal((await alerts.service.get(viewer, id)).id, id)
    await assert.rejects(alerts.service.get(stranger, id), NotFoundError)
    await assert.rejects(alerts.service.resolve(stranger, { id }), NotFoundError)
    assert.deepEqual((await alerts.service.list(stranger)).items, [])
  })

  it('lists newest first, page by page, filtered', async () => {
    for (let i = 0; i < 7; i++) await say({ device: `fan-${i}`, severity: i === 3 ? 'critical' : 'warning' })
    const seen: string[] = []
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await alerts.service.list(operator, { limit: 3, ...(cursor === undefined ? {} : { cursor }) })
      assert.ok(page.items.length <= 3)
      seen.push(...page.items.map((alert) => alert.id))
      cursor = page.next
    }
    assert.equal(new Set(seen).size, 8)
    assert.deepEqual(seen, seen.toSorted().toReversed())
    assert.deepEqual(
      (await alerts.service.list(operator, { device: 'fan-2' })).items.map((alert) => alert.device),
      ['fan-2'],
    )
    assert.deepEqual(
      (await alerts.service.list(operator, { severity: 'critical' })).items.map((alert) => alert.device),
      ['fan-3'],
    )
    assert.equal((await alerts.service.list(operator, { state: 'resolved' })).items.length, 0)
    await assert.rejects(alerts.service.list(operator, { cursor: '../x' }), InvalidInputError)
    await assert.rejects(alerts.service.list(operator, { limit: 0 }), InvalidInputError)
  })

  it('keeps a change whose message did not reach the log, and tells it later under the same id', async () => {
    await say()
    const { id } = await only()
    await alerts.stop()
    let broken = true
    const eventLog: EventLog = new Proxy(engines.eventLog, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property)
        if (property === 'append' && broken) return () => Promise.reject(new Error('disk full'))
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
    alerts = new Alerts({ ...alertsOptions(engines, {}, clock), eventLog })
    await alerts.start()
    assert.equal((await alerts.service.acknowledge(operator, { id })).state, 'acknowledged')
    const changesOf = async (): Promise<string[]> =>
      (await alertChanges(engines.eventLog)).filter((change) => change.alert.id === id).map((change) => `${change.id} ${change.change}`)
    assert.deepEqual(await changesOf(), [`${id}-1 opened`])
    broken = false
    await soon('it is told', async () => (await changesOf()).length === 2)
    for (let i = 0; i < 30; i++) await clock.advance(1_000)
    assert.deepEqual(await changesOf(), [`${id}-1 opened`, `${id}-2 acknowledged`])
  })
})
