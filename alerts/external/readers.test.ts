import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { T0 } from '../alerts-testing.ts'
import { readAlertmanager } from './alertmanager.ts'
import { asAnomaly } from './as-anomaly.ts'
import { EXTERNAL_ALERT_TYPE, readCloudEvent } from './cloud-event.ts'
import { NAME_LENGTH_MAX, plainLine, TEXT_LENGTH_MAX, type ExternalAlert, type ReadAlert } from './external-alert.ts'

const at = (ms: number): string => new Date(ms).toISOString()
const STARTS = at(T0 - 60_000)
const FIRING = {
  status: 'firing',
  labels: { alertname: 'HighLatency', device: 'pump-1', severity: 'page', job: 'node' },
  annotations: { summary: 'It is slow', description: 'p99 above a second', runbook_url: 'https://runbooks.example/slow' },
  startsAt: STARTS,
  endsAt: '0001-01-01T00:00:00Z',
  fingerprint: 'c4e1a0',
}
const EVENT = {
  ...{ specversion: '1.0', id: 'e-1', source: '/scada', type: EXTERNAL_ALERT_TYPE, datacontenttype: 'application/json' },
  data: {
    fingerprint: 'valve-3',
    status: 'firing',
    name: 'ValveStuck',
    startsAt: STARTS,
    device: 'pump-1',
    severity: 'low',
    summary: 'Stuck',
  },
}

function taken(read: ReadAlert): ExternalAlert {
  assert.ok(read.status === 'read', JSON.stringify(read))
  return read.alert
}

test('an alert of Alertmanager is read: what it is, whose, how bad, since when', () => {
  const alert = taken(readAlertmanager(FIRING, 'device', T0))
  assert.match(alert.identity, /^[0-9a-f]{32}$/)
  assert.deepEqual(
    { ...alert, identity: '' },
    {
      ...{
        identity: '',
        phase: 'raised',
        name: 'HighLatency',
        device: 'pump-1',
        severity: 'critical',
        startsAt: T0 - 60_000,
        endsAt: null,
      },
      ...{ summary: 'It is slow', description: 'p99 above a second', remedy: 'https://runbooks.example/slow', source: 'alertmanager' },
      labels: { alertname: 'HighLatency', device: 'pump-1', job: 'node', severity: 'page' },
    },
  )
  const over = taken(readAlertmanager({ ...FIRING, status: 'resolved', endsAt: at(T0) }, 'device', T0))
  assert.deepEqual([over.identity, over.phase, over.endsAt], [alert.identity, 'cleared', T0])
  assert.equal(taken(readAlertmanager(FIRING, 'job', T0)).device, 'node', 'which label names the device can be set')
  assert.equal(taken(readAlertmanager(FIRING, 'constructor', T0)).device, null)
})

test('a CloudEvent is read; its source and fingerprint name the trouble, not its id', () => {
  const alert = taken(readCloudEvent(EVENT, T0))
  assert.deepEqual(
    [alert.name, alert.device, alert.severity, alert.summary, alert.source],
    ['ValveStuck', 'pump-1', 'warning', 'Stuck', '/scada'],
  )
  assert.equal(taken(readCloudEvent({ ...EVENT, id: 'e-2', extension: 1 }, T0)).identity, alert.identity)
  assert.notEqual(taken(readCloudEvent({ ...EVENT, source: '/other' }, T0)).identity, alert.identity)
})

test('what cannot be an alert is refused with what is wrong', () => {
  const { alertname: _name, ...nameless } = FIRING.labels
  for (const [change, problem] of [
    [{ status: 'perhaps' }, /^status /],
    [{ labels: nameless }, /^labels.alertname is missing$/],
    [{ labels: { ...FIRING.labels, many: 7 } }, /^labels.many /],
    [{ labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, 'x'])) }, /^labels /],
    [{ startsAt: 'yesterday' }, /^startsAt /],
    [{ startsAt: at(T0 + 3_600_000) }, /^startsAt: not between/],
    [{ startsAt: '1999-12-31T00:00:00Z' }, /^startsAt: not between/],
    [{ status: 'resolved', endsAt: at(T0 - 120_000) }, /^endsAt: before startsAt$/],
  ] as const) {
    const read = readAlertmanager({ ...FIRING, ...change }, 'device', T0)
    assert.ok(read.status === 'refused', JSON.stringify(change))
    assert.match(read.problem, problem)
  }
  for (const [change, problem] of [
    [{ specversion: '0.3' }, /^specversion /],
    [{ type: 'com.example.other' }, /^type /],
    [{ data: { ...EVENT.data, fingerprint: '' } }, /^data.fingerprint /],
    [{ data: { ...EVENT.data, more: 1 } }, /^data.more is not a known key$/],
    [{ data: { ...EVENT.data, name: '\u200b' } }, /^data.name has nothing/],
    [{ data: { ...EVENT.data, status: 'resolved', endsAt: '1990-01-01T00:00:00Z' } }, /^data.endsAt: not between/],
  ] as const) {
    const read = readCloudEvent({ ...EVENT, ...change }, T0)
    assert.ok(read.status === 'refused', JSON.stringify(change))
    assert.match(read.problem, problem)
  }
})

const anyText = fc.string({ unit: 'binary', maxLength: 2_000 })
/** Mostly of the right shape, with members that are not. */
const almost = (good: object): fc.Arbitrary<unknown> =>
  fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom(...Object.keys(good)), fc.oneof(fc.jsonValue(), anyText)).map((changes) => ({ ...good, ...changes })),
  )
const isInert = (text: string): boolean => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/u.test(text)

test('whatever comes is read or refused, never thrown, and what is kept is bounded plain text', () => {
  const texts = fc.record({ alertname: anyText, device: anyText, other: anyText })
  const hostile = texts.map((labels) => ({ ...FIRING, labels, annotations: labels, fingerprint: undefined }))
  const item = fc.oneof(almost(FIRING), hostile)
  const event = fc.oneof(
    almost(EVENT),
    almost(EVENT.data).map((data) => ({ ...EVENT, data })),
  )
  const sound = (read: ReadAlert): void => {
    if (read.status === 'refused') return assert.ok(read.problem.length > 0 && read.problem.length < 1_000)
    const { alert } = read
    for (const [text, most] of [
      ...[alert.name, alert.source, alert.device ?? '', ...Object.entries(alert.labels).flat()].map(
        (each) => [each, NAME_LENGTH_MAX] as const,
      ),
      ...[alert.summary, alert.description, alert.remedy].map((each) => [each, TEXT_LENGTH_MAX] as const),
    ])
      assert.ok(isInert(text) && Array.from(text).length <= most, JSON.stringify(text))
    assert.ok(alert.name !== '' && Object.keys(alert.labels).length <= 20)
    assert.ok(alert.endsAt === null ? alert.phase === 'raised' : alert.endsAt >= alert.startsAt)
    assert.ok(Buffer.byteLength(JSON.stringify(asAnomaly(alert, null, { tenant: 'default', nowMs: T0, correlationId: 'c' }))) < 64_000)
  }
  fc.assert(
    fc.property(item, (each) => sound(readAlertmanager(each, 'device', T0))),
    { seed: 11, numRuns: 500 },
  )
  fc.assert(
    fc.property(event, (each) => sound(readCloudEvent(each, T0))),
    { seed: 12, numRuns: 500 },
  )
})

test('the same labels in any order are the same trouble, others are another', () => {
  const labels = fc.dictionary(fc.string({ maxLength: 20 }), fc.string({ maxLength: 20 }), { maxKeys: 8 })
  const identity = (of: Record<string, string>): string =>
    taken(readAlertmanager({ ...FIRING, fingerprint: undefined, labels: { ...of, alertname: 'a' } }, 'device', T0)).identity
  fc.assert(
    fc.property(labels, labels, (one, other) => {
      const named = (of: Record<string, string>): Record<string, string> => ({ ...of, alertname: 'a' })
      const turned = Object.fromEntries(Object.entries(one).toReversed()) as Record<string, string>
      assert.equal(identity(turned), identity(one))
      const sorted = (of: Record<string, string>): string => JSON.stringify(Object.entries(named(of)).toSorted())
      assert.equal(identity(one) === identity(other), sorted(one) === sorted(other))
    }),
    { seed: 13 },
  )
})

test('a repeat is the same anomaly; another time, end or severity is another', () => {
  const of = { tenant: 'default', nowMs: T0, correlationId: 'c' }
  const idOf = (changes: object, nowMs = T0): string =>
    asAnomaly(taken(readAlertmanager({ ...FIRING, ...changes }, 'device', nowMs)), null, { ...of, nowMs }).id
  assert.equal(idOf({}), idOf({ annotations: {} }, T0 + 3_600_000))
  const ids = [{}, { startsAt: at(T0) }, { status: 'resolved', endsAt: at(T0) }, { labels: { ...FIRING.labels, severity: 'low' } }].map(
    (each) => idOf(each),
  )
  assert.equal(new Set(ids).size, ids.length)
})

test('a line is one line of plain text, whatever it was', () => {
  assert.equal(plainLine(' a\r\nb\u2028c \u202egpj.exe\u202c \ud800!', 40), 'a b c gpj.exe !')
  assert.equal(plainLine('x'.repeat(50), 10), `${'x'.repeat(9)}…`)
  assert.equal(Array.from(plainLine('\ufdfa'.repeat(1_000), 16)).length, 16)
})
