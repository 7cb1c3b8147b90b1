import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { INCIDENT, type IncidentChange } from '../../contracts/incident.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { operator, stranger, T0, until } from '../alerts-testing.ts'
import { webhooksOptions, WebhookWorld, type Receiver } from '../webhooks/webhooks-testing.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'
import { receiversOf, type Routing } from './routing-tree.ts'
import { onCallAt, type Schedule } from './schedule.ts'

const HOUR = 3_600_000
const QUARTER = HOUR / 4
const schedule = (changes: Partial<Schedule> = {}): Schedule => ({
  ...{
    name: 'primary',
    timeZone: 'Europe/Berlin',
    startsOn: '2025-03-24',
    changesAt: '09:00',
    everyDays: 7,
    members: ['ana', 'ben', 'cem'],
    overrides: [],
  },
  ...changes,
})

describe('on call', () => {
  const at = (text: string, of = schedule()): string => onCallAt(of, Date.parse(text))

  it('changes at the same time on the wall in the weeks around daylight saving', () => {
    // Monday 2025-03-24 in winter time, 2025-03-31 in summer time.
    assert.equal(at('2025-03-24T07:59:59Z'), 'cem')
    assert.equal(at('2025-03-24T08:00:00Z'), 'ana')
    assert.equal(at('2025-03-31T06:59:59Z'), 'ana')
    assert.equal(at('2025-03-31T07:00:00Z'), 'ben')
    assert.equal(at('2025-10-27T07:59:59Z'), at('2025-10-20T07:00:01Z'))
    assert.notEqual(at('2025-10-27T08:00:00Z'), at('2025-10-27T07:59:59Z'))
  })

  it('does so south of the equator, where the clock moves by half an hour, and where midnight is skipped', () => {
    const of = (timeZone: string, changesAt: string) => schedule({ timeZone, changesAt, startsOn: '2025-01-01', everyDays: 1 })
    const changesOf = (at: Schedule, day: string): string[] => {
      const [from, found]: [number, string[]] = [Date.parse(`${day}T00:00:00Z`), []]
      for (let ms = from; ms < from + 48 * HOUR; ms += QUARTER)
        if (onCallAt(at, ms) !== onCallAt(at, ms - QUARTER))
          found.push(new Intl.DateTimeFormat('en-GB', { timeZone: at.timeZone, timeStyle: 'short' }).format(ms))
      return found
    }
    // The day before and the day on which the clock is put forward, then back.
    for (const [zone, forward, back] of [
      ['Australia/Sydney', '2025-10-04', '2025-04-05'],
      ['Australia/Lord_Howe', '2025-10-04', '2025-04-05'],
      ['America/Santiago', '2025-09-06', '2025-04-05'],
    ] as const) {
      assert.deepEqual(changesOf(of(zone, '09:00'), forward), ['09:00', '09:00'], zone)
      assert.deepEqual(changesOf(of(zone, '09:00'), back), ['09:00', '09:00'], zone)
    }
    assert.deepEqual(changesOf(of('Australia/Lord_Howe', '02:15'), '2025-10-04'), ['02:45', '02:15'], 'the time that is skipped')
    assert.deepEqual(changesOf(of('America/Santiago', '00:00'), '2025-09-06'), ['00:00', '01:00'], 'so is midnight')
  })

  it('gives everyone whole turns through a year, each hour to exactly one', () => {
    const daily = schedule({ everyDays: 1, timeZone: 'America/New_York', changesAt: '02:30' })
    const turns: { member: string; hours: number }[] = []
    for (let ms = Date.parse('2025-01-01T07:30:00Z'); ms < Date.parse('2026-01-01T07:30:00Z'); ms += HOUR) {
      const member = onCallAt(daily, ms)
      if (turns.at(-1)?.member !== member) turns.push({ member, hours: 0 })
      ;(turns.at(-1) as { hours: number }).hours++
    }
    const odd = turns.filter(({ hours }) => hours !== 24).map(({ hours }) => hours)
    assert.ok(turns.length >= 365 && odd.length <= 3, `${turns.length} turns, odd ones ${odd.join(' ')}`)
    assert.ok(
      turns.every(
        ({ member }, i) => i === 0 || daily.members.indexOf(member) === (daily.members.indexOf(turns[i - 1]?.member ?? '') + 1) % 3,
      ),
    )
  })

  it('lets an override win while it lasts, the last of several', () => {
    const from = Date.parse('2025-03-25T00:00:00Z')
    const of = schedule({
      overrides: [
        { from, until: from + 10 * HOUR, member: 'ben' },
        { from: from + HOUR, until: from + 2 * HOUR, member: 'cem' },
      ],
    })
    assert.deepEqual(
      [from - 1, from, from + HOUR, from + 2 * HOUR, from + 10 * HOUR].map((ms) => onCallAt(of, ms)),
      ['ana', 'ben', 'cem', 'ben', 'ana'],
    )
  })
})

describe('the routing tree', () => {
  const routing: Routing = {
    receivers: [],
    schedules: [],
    route: {
      receiver: 'all',
      routes: [
        { matchers: [{ label: 'severity', is: 'critical' }], receiver: 'pager', continue: true },
        {
          matchers: [{ label: 'site', like: 'north*' }],
          receiver: 'north',
          routes: [{ matchers: [{ label: 'escalation', is: '1' }], receiver: 'boss' }, { matchers: [{ label: 'type', is: 'pump' }] }],
        },
        { matchers: [{ label: 'type', is: 'pump' }], receiver: 'pumps' },
      ],
    },
  }
  const to = (labels: Record<string, string>): string[] => receiversOf(routing, labels).map(({ receiver }) => receiver)

  it('goes to the first child that matches and on after continue, deepest first; else to its own receiver', () => {
    assert.deepEqual(to({ site: 'south' }), ['all'])
    assert.deepEqual(to({ site: 'north-1' }), ['north'])
    assert.deepEqual(to({ site: 'north-1', severity: 'critical' }), ['pager', 'north'])
    assert.deepEqual(to({ site: 'north-1', escalation: '1' }), ['boss'])
    assert.deepEqual(to({ type: 'pump' }), ['pumps'])
    assert.deepEqual(to({ site: 'north-1', type: 'pump' }), ['north'], 'a route without a receiver has the one above')
    assert.deepEqual(receiversOf(routing, { site: 'north-1', escalation: '1' })[0]?.path, 'route.routes.1.routes.0')
  })
})

describe('routing of notices', () => {
  let world: WebhookWorld
  let webhooks: Webhooks
  beforeEach(async () => {
    world = await WebhookWorld.open()
    webhooks = await world.start(webhooksOptions(world.engines))
  })
  afterEach(() => world.close())

  async function endpoint(): Promise<{ id: string; receiver: Receiver }> {
    const receiver = await world.receive()
    const { endpoint: made } = await webhooks.service.create(operator, { url: receiver.url, events: [] })
    return { id: made.id, receiver }
  }
  async function happens(
    id: string,
    labels: Partial<IncidentChange['incident']> = {},
    change: IncidentChange['change'] = 'opened',
    sequence = 1,
  ): Promise<void> {
    const incident: IncidentChange['incident'] = {
      ...{
        id,
        tenant: 'default',
        level: 'device',
        title: 'value at pump-1',
        cause: 'value',
        device: 'pump-1',
        type: 'pump',
        place: 'north',
        labels: {},
      },
      ...{
        state: 'open',
        severity: 'warning',
        escalation: 0,
        announced: true,
        acknowledgedBy: null,
        alertCount: 1,
        openCount: 1,
        acknowledgedCount: 0,
      },
      ...{ devices: ['pump-1'], firstAlertId: 'a', openedAt: T0, updatedAt: T0, resolvedAt: null, correlationId: 'c-1', ...labels },
    }
    const value = Buffer.from(JSON.stringify({ id: `${id}-${sequence}`, sequence, change, incident } satisfies IncidentChange))
    await world.engines.eventLog.append('alerts', [{ key: `default/incident:${id}`, schema: INCIDENT, value }])
  }

  it('brings an incident to the receivers of its route, through the schedule, once each', async () => {
    const [ana, critical, all] = [await endpoint(), await endpoint(), await endpoint()]
    await webhooks.routing.put(operator, {
      receivers: [
        { name: 'ana', endpoints: [ana.id] },
        { name: 'on-call', schedule: 'primary' },
        { name: 'critical', endpoints: [critical.id, ana.id] },
        { name: 'all', endpoints: [all.id] },
      ],
      schedules: [schedule({ members: ['ana'] })],
      route: {
        receiver: 'all',
        routes: [
          { matchers: [{ label: 'severity', is: 'critical' }], receiver: 'critical', continue: true },
          { matchers: [{ label: 'severity', is: 'critical' }], receiver: 'on-call' },
        ],
      },
    })
    await happens('01critical', { severity: 'critical' })
    await happens('01quiet', { announced: false })
    await happens('01warning')
    await until(
      'they came',
      () => ana.receiver.received.length === 1 && critical.receiver.received.length === 1 && all.receiver.received.length === 1,
    )
    const { type, data } = JSON.parse(all.receiver.received[0]?.body ?? '') as {
      type: string
      data: { incident: { id: string }; text: string }
    }
    assert.deepEqual([type, data.incident.id, data.text], ['incident.opened', '01warning', '[warning] value at pump-1 — opened'])
    const preview = await webhooks.routing.preview(operator, { severity: 'critical' })
    assert.deepEqual(preview.receivers, [
      { receiver: 'critical', path: 'route.routes.0' },
      { receiver: 'on-call', path: 'route.routes.1' },
    ])
    const proposed: Routing = { receivers: [{ name: 'all', endpoints: [all.id] }], schedules: [], route: { receiver: 'all' } }
    const tried = await webhooks.routing.preview(operator, { severity: 'critical' }, { routing: proposed })
    assert.deepEqual(tried, { receivers: [{ receiver: 'all', path: 'route' }], endpoints: [all.id] }, 'before it is kept')
    await assert.rejects(
      webhooks.routing.preview(operator, {}, { routing: { ...proposed, route: { receiver: 'x' } } }),
      /route.receiver: there is no receiver "x"/,
    )
    assert.deepEqual((await webhooks.routing.get(stranger)).routing, null)
  })

  it('refuses a tree that cannot be, with every path and reason, and keeps the one before', async () => {
    const { id } = await endpoint()
    const good: Routing = { receivers: [{ name: 'all', endpoints: [id] }], schedules: [], route: { receiver: 'all' } }
    const view = await webhooks.routing.put(operator, good)
    const refused = async (routing: Routing, ...paths: string[]): Promise<void> => {
      await assert.rejects(webhooks.routing.put(operator, routing), (error: unknown) => {
        assert.ok(error instanceof InvalidInputError)
        assert.deepEqual(
          (error.details.faults as { path: string }[]).map(({ path }) => path),
          paths,
        )
        return true
      })
    }
    const all = good.receivers
    const north = { label: 'site', is: 'north' }
    const route = (...routes: Routing['route'][]): Routing => ({ ...good, route: { receiver: 'all', routes } })
    await refused(route({ matchers: [north] }, { matchers: [{ label: 'type', is: 'pump' }, north] }), 'route.routes.1')
    await refused(route({ matchers: [north], routes: [{ matchers: [{ label: 'site', isNot: 'north' }] }] }), 'route.routes.0.routes.0')
    await refused(route({ matchers: [north, { label: 'site', like: 's*' }], routes: [{ matchers: [north] }] }), 'route.routes.0')
    await refused({ ...good, schedules: [schedule({ members: ['all'], startsOn: '2025-02-30' })] }, 'schedules.0.startsOn')
    await refused(route({ matchers: 5 } as unknown as Routing['route'], { matchers: [north] }), 'route.routes.0.matchers')
    await refused({ ...good, route: {} }, 'route.receiver')
    await refused({ ...good, route: { receiver: 'all', matchers: [{ label: 'a', is: 'b' }] } }, 'route.matchers')
    await refused(
      { ...good, route: { receiver: 'all', routes: [{ receiver: 'nobody', matchers: [{ label: 'a', is: 'b' }] }] } },
      'route.routes.0.receiver',
    )
    await refused(
      { ...good, route: { receiver: 'all', routes: [{ receiver: 'all' }, { matchers: [{ label: 'a', is: 'b' }] }] } },
      'route.routes.1',
    )
    await refused({ ...good, receivers: [...all, { name: 'all', endpoints: [id] }] }, 'receivers.1.name')
    await refused(
      { ...good, receivers: [...all, { name: 'b' }, { name: 'c', schedule: 'x' }, { name: 'd', endpoints: ['nothing'] }] },
      'receivers.1',
      'receivers.2.schedule',
      'receivers.3.endpoints.0',
    )
    await refused(
      { ...good, schedules: [schedule({ members: ['all', 'x'], timeZone: 'Mars/Olympus' })] },
      'schedules.0.timeZone',
      'schedules.0.members.1',
    )
    await refused(
      { ...good, route: { receiver: 'all', routes: [{ matchers: [{ label: 'a', oops: 'b' }] } as unknown as Routing['route']] } },
      ...Array.from({ length: 9 }, () => 'x'),
    ).catch((error: unknown) => {
      assert.match(String(error), /route\.routes\.0/)
    })
    let deep: Routing['route'] = { matchers: [{ label: 'a', is: 'b' }] }
    for (let i = 0; i < 9; i++) deep = { matchers: [{ label: 'a', is: 'b' }], routes: [deep] }
    await refused({ ...good, route: { receiver: 'all', routes: [deep] } }, `route${'.routes.0'.repeat(9)}`)
    assert.equal((await webhooks.routing.get(operator)).version, view.version)
    const fine = route({ matchers: [north], continue: true }, { matchers: [north] }, { matchers: [{ label: 'site', like: 'n*' }] })
    assert.equal((await webhooks.routing.put(operator, fine)).version, view.version + 1)
  })

  it('tells the end to whoever was told of the incident, wherever its labels lead by then', async () => {
    const [first, second, subscriber] = [await endpoint(), await endpoint(), await world.receive()]
    await webhooks.service.create(operator, { url: subscriber.url, events: ['incident.opened'] })
    await webhooks.routing.put(operator, {
      receivers: [
        { name: 'first', endpoints: [first.id] },
        { name: 'second', endpoints: [second.id] },
      ],
      schedules: [],
      route: { receiver: 'first', routes: [{ matchers: [{ label: 'escalation', is: '1' }], receiver: 'second' }] },
    })
    await happens('01incident', {}, 'opened', 1)
    await until('the first is told', () => first.receiver.received.length === 1)
    await happens('01incident', { escalation: 1 }, 'escalated', 2)
    await happens('01incident', { escalation: 1, state: 'resolved' }, 'resolved', 3)
    const toldTo = ({ receiver }: { receiver: Receiver }): string[] =>
      receiver.received.map(({ body }) => (JSON.parse(body) as { type: string }).type)
    await until('both know the end', () => [first, second].every((each) => toldTo(each).includes('incident.resolved')))
    assert.deepEqual(toldTo(first).toSorted(), ['incident.opened', 'incident.resolved'])
    assert.deepEqual(toldTo(second).toSorted(), ['incident.escalated', 'incident.resolved'])
    assert.deepEqual(toldTo({ receiver: subscriber }), ['incident.opened'], 'what it subscribed to, and no more')
  })

  it('keeps an endpoint that it names from being removed', async () => {
    const { id } = await endpoint()
    const routing: Routing = { receivers: [{ name: 'all', endpoints: [id] }], schedules: [], route: { receiver: 'all' } }
    await webhooks.routing.put(operator, routing)
    await assert.rejects(webhooks.service.delete(operator, id), /receivers\.0\.endpoints\.0/)
    assert.equal((await webhooks.service.get(operator, id)).enabled, true)
    const other = await endpoint()
    await webhooks.routing.put(operator, { ...routing, receivers: [{ name: 'all', endpoints: [other.id] }] })
    await webhooks.service.delete(operator, id)
  })
})
