import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../kernel/time.ts'
import { Alerts } from './alerts.ts'
import { partTrouble } from './platform-health.ts'
import { alertsOptions, openEngines, operator, T0, until } from './alerts-testing.ts'

const troublesOf = (notReady: Record<string, string>) =>
  Object.fromEntries(Object.entries(notReady).map(([part, what]) => [part, partTrouble(what)]))

test('a part that does not work for a while opens an alert with its reason, which ends when it works again, through a restart', async () => {
  const engines = await openEngines(1)
  const clock = new VirtualClock(T0)
  let notReady: Record<string, string> = {}
  let looks = 0
  const health = { processId: 'p-1', troubles: async () => (looks++, troublesOf(notReady)) }
  const look = async (): Promise<void> => {
    const before = looks
    await clock.advance(10_000)
    await until('it was looked at', () => looks > before)
  }
  const build = (): Alerts => new Alerts({ ...alertsOptions(engines, { resolveQuietMs: 0 }, clock), health })
  let alerts = build()
  await alerts.start()
  const when = (what: string, condition: (state: string | undefined, count: number) => boolean): Promise<true> =>
    until(what, async () => {
      await clock.advance(1_000)
      const { items } = await alerts.service.list(operator)
      return condition(items[0]?.state, items.length) ? true : null
    })
  try {
    notReady = { series: 'the disk is full' }
    await look()
    await look()
    notReady = {}
    await look()
    assert.equal((await alerts.service.list(operator)).items.length, 0, 'it was short')
    notReady = { series: 'the disk is full' }
    await when('it is told', (state) => state === 'open')
    const [alert] = (await alerts.service.list(operator)).items
    assert.deepEqual([alert?.cause, alert?.severity, alert?.metric], ['platform', 'critical', 'series of p-1'])
    assert.match((alert?.explanation as { text: string }).text, /^series does not work since .*: the disk is full$/)
    await alerts.stop()
    notReady = {}
    alerts = build()
    await alerts.start()
    await when('it is over', (state, count) => state === 'resolved' && count === 1)
  } finally {
    await alerts.stop()
    await engines.dispose()
  }
})
