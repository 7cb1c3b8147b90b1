import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvalidInputError } from '../kernel/errors.ts'
import { seededRandom } from '../kernel/random.ts'
import { PROFILES, valueAt, type Fault, type MetricProfile } from './device-profiles.ts'
import { faultPlan } from './fault-plan.ts'
import { Latencies } from './latencies.ts'
import { connectPacket, packetBounds, pubackPacket, PublishEncoder, readPublish, subscribePacket } from './mqtt-packets.ts'
import { parseRecordedTime, parseSeries } from './recorded-series.ts'

const START = 1_763_680_000_000

function plannedFaults(seed: number, count: number): Fault[] {
  const devices = PROFILES.map((profile, i) => ({ id: `d${i}`, profile }))
  const plan = faultPlan({ seed, devices, startTs: START, quietMs: 90_000, everyMs: 60_000, lastsMs: 20_000 })
  return Array.from({ length: count }, () => plan.next().value)
}

test('faults: the same seed gives the same, another one others; quiet first, then one at a time', () => {
  const faults = plannedFaults(7, 60)
  assert.deepEqual(plannedFaults(7, 60), faults)
  assert.notDeepEqual(plannedFaults(8, 60), faults)
  assert.equal(faults[0]?.fromTs, START + 90_000)
  for (const [i, fault] of faults.entries()) {
    assert.ok(fault.toTs > fault.fromTs && fault.toTs <= (faults[i + 1]?.fromTs ?? Infinity))
    const profile = PROFILES[Number(fault.device.slice(1))]
    assert.ok(fault.kind === 'silence' ? fault.metric === '' : profile !== undefined && fault.metric in profile.metrics)
  }
  assert.equal(new Set(faults.map(({ kind }) => kind)).size, 6, 'every kind comes')
  assert.ok(new Set(faults.map(({ device }) => device)).size > 1)
})

function values(profile: MetricProfile, seed: string, fault?: Fault, count = 400): number[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, (_, i) => valueAt(profile, 0, START + i * 500, fault, random))
}

test('values: the same seed gives the same; healthy ones stay within what the type allows', () => {
  for (const { metrics } of PROFILES) {
    for (const [name, profile] of Object.entries(metrics)) {
      const healthy = values(profile, 'a')
      assert.deepEqual(values(profile, 'a'), healthy, name)
      assert.notDeepEqual(values(profile, 'b'), healthy, name)
      const { min = -Infinity, max = Infinity } = profile.spec
      for (const value of healthy) assert.ok(value > min && value < max && Math.abs(value - profile.level) <= profile.swing + 6 * profile.noise + 0.5, `${name} ${value}`)
    }
  }
})

test('values: each kind of fault can be seen in them', () => {
  for (const { metrics } of PROFILES) {
    for (const [metric, profile] of Object.entries(metrics)) {
      const during = (kind: Fault['kind']): number[] => values(profile, 'a', { device: 'd', metric, kind, fromTs: START, toTs: START + 200_000 })
      const healthy = values(profile, 'a')
      const mean = (list: number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length
      const { min = -Infinity, max = Infinity } = profile.spec
      const shift = Math.min(4 * (profile.noise + profile.swing / 2), (max - profile.level) / 2)
      assert.ok(mean(during('level-shift')) > mean(healthy) + shift, metric)
      assert.ok(mean(during('drift').slice(-50)) > mean(healthy.slice(-50)) + shift, metric)
      assert.equal(new Set(during('stuck')).size, 1, metric)
      const wide = during('noise')
      assert.ok(Math.max(...wide) - Math.min(...wide) > Math.max(...healthy) - Math.min(...healthy), metric)
      for (const value of [...wide, ...during('drift')]) assert.ok(value >= min && value <= max, 'a fault is a wrong value, not a rejected one')
    }
  }
})

test('recordings: header, times and cells as documented', () => {
  const rows = parseSeries('timestamp,value\r\n2014-04-01 00:00:00,1.5\r\n\r\n1396310700,2\n1396311000000,-3e2\n2014-04-01T00:15:00+00:00,\n', 'f.csv', undefined)
  const start = Date.UTC(2014, 3, 1)
  assert.deepEqual(rows, [
    { ts: start, values: { value: 1.5 } },
    { ts: 1_396_310_700_000, values: { value: 2 } },
    { ts: 1_396_311_000_000, values: { value: -300 } },
  ])
  assert.deepEqual(parseSeries('t,value\n1,1', 'f', 'cpu')[0]?.values, { cpu: 1 })
  assert.deepEqual(parseSeries('t,a,b\n1,1,2\n2,,3', 'f', 'cpu').map((row) => row.values), [{ a: 1, b: 2 }, { b: 3 }], 'several columns keep their names')
})

test('recordings: what cannot be read is said with file and line', () => {
  for (const [text, place] of [
    ['', 'f.csv:1'],
    ['value', 'f.csv:1'],
    ['t,v\nsoon,1', 'f.csv:2'],
    ['t,v\n1,1\n2,much', 'f.csv:3'],
    ['t,v\n1,Infinity', 'f.csv:2'],
  ] as const) {
    assert.throws(() => parseSeries(text, 'f.csv', undefined), (error: unknown) => error instanceof InvalidInputError && error.message.startsWith(place), text)
  }
})

test('recordings: any text is read or refused, and what is read is finite', () => {
  const cell = fc.oneof(fc.string({ maxLength: 12 }), fc.double().map(String), fc.integer().map(String), fc.date({ noInvalidDate: true }).map((date) => date.toISOString()), fc.constantFrom('', ',', '\n', '\r\n', '"', '\ufeff', '2014-01-01 00:00:00'))
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.array(fc.array(cell, { maxLength: 4 }), { maxLength: 6 }).map((lines) => ['t,a,b', ...lines.map((cells) => cells.join(','))].join('\n'))), (text) => {
      try {
        for (const row of parseSeries(text, 'f', undefined)) {
          assert.ok(Number.isFinite(row.ts))
          assert.ok(Object.keys(row.values).length > 0)
          for (const value of Object.values(row.values)) assert.ok(Number.isFinite(value))
        }
      } catch (error) {
        assert.ok(error instanceof InvalidInputError, String(error))
      }
    }),
    { numRuns: 500 },
  )
  fc.assert(fc.property(fc.integer({ min: 946_684_800_000, max: 4_102_444_800_000 }), (ms) => parseRecordedTime(String(ms)) === ms && parseRecordedTime(new Date(ms).toISOString()) === ms))
})

test('percentiles come from the latest samples', () => {
  const latencies = new Latencies()
  assert.deepEqual(latencies.percentiles(), { count: 0, p50: null, p90: null, p99: null, max: null })
  for (let i = 1; i <= 100; i++) latencies.add(i)
  assert.deepEqual(latencies.percentiles(), { count: 100, p50: 51, p90: 91, p99: 100, max: 100 })
  for (let i = 0; i < 200_000; i++) latencies.add(5)
  assert.deepEqual(latencies.percentiles(), { count: 200_100, p50: 5, p90: 5, p99: 5, max: 5 })
})

test('packets are those of MQTT 3.1.1', () => {
  assert.equal(connectPacket('d1', 60).toString('hex'), '100e00044d5154540402003c00026431')
  assert.equal(new PublishEncoder('a/b').encode(258, Buffer.from('hi')).toString('hex'), '3209' + '0003612f62' + '0102' + '6869')
  const large = new PublishEncoder('a').encode(1, Buffer.alloc(200))
  assert.equal(large.subarray(0, 3).toString('hex'), '32cd01', 'the remaining length takes two bytes')
})

test('what the broker sends is read, in whatever pieces it comes', () => {
  const publish = Buffer.concat([Buffer.from([0x32, 0x80 + (206 - 128), 1, 0, 2]), Buffer.from('ab'), Buffer.from([0, 7]), Buffer.alloc(200, 'x')])
  const bounds = packetBounds(publish, 0)
  assert.deepEqual(bounds, { bodyStart: 3, end: publish.length })
  assert.deepEqual(readPublish(publish, 0, bounds), { topic: 'ab', packetId: 7, payload: Buffer.alloc(200, 'x') })
  for (let cut = 0; cut < publish.length; cut++) assert.equal(packetBounds(publish.subarray(0, cut), 0), undefined)
  assert.equal(subscribePacket(1, 'a/b').toString('hex'), '8208' + '0001' + '0003612f62' + '01')
  assert.equal(pubackPacket(258).toString('hex'), '40020102')
})
