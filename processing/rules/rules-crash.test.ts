import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { OperatorOutput } from '../../contracts/operator.ts'
import type { LoggedReading, Reading } from '../../contracts/reading.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { integerBetween, seededRandom, type Random } from '../../kernel/random.ts'
import type { Consumer } from '../../storage/event-log/event-log.ts'
import { crashable } from '../testing/crashable.ts'
import { Road, until } from '../testing/road.ts'
import { windowOperator } from '../windows/window-testing.ts'
import type { RuleDocument, RuleVersion } from './rule-document.ts'
import { KnownRules, onWindow, ruleOf, ruleOperator, settings, T0 } from './rules-testing.ts'

// The platform's own timers do not keep a process alive: its sockets do, and here there are none.
const alive = setInterval(() => undefined, 1_000)
after(() => clearInterval(alive))

const DEVICES = ['d1', 'd2', 'd3']
/** Windows of a second, so that there are many. */
const WINDOWS = { windows: [{ kind: 'tumbling' as const, sizeMs: 1_000, slideMs: 1_000 }], outOfOrdernessMs: 200, allowedLatenessMs: 1_000 }

/** Three rules that change a few times; each change begins at a receipt time. */
function histories(random: Random, spanMs: number): RuleDocument[] {
  const kinds = [settings({ clear: 70 }), settings({ forMs: 300 }), settings({ on: onWindow('max', 1_000) })]
  return kinds.map((first, i) => {
    const changes = Array.from({ length: 6 }, () => integerBetween(random, 1, spanMs)).toSorted((a, b) => a - b)
    const later = changes.map((at) => ({
      from: T0 + at,
      settings: random.next() < 0.2 ? null : { ...first, raise: integerBetween(random, 72, 90), enabled: random.next() < 0.9 },
    }))
    return ruleOf(`r${i}`, { settings: first }, ...later)
  })
}

/** Rules as they are known when readings of up to this receipt were sent: changes reach a process before they begin. */
function knownAt(rules: readonly RuleDocument[], ms: number): RuleDocument[] {
  const known = ({ activeFrom }: RuleVersion): boolean => activeFrom <= ms + 100
  return rules.map((rule) => ({ ...rule, versions: rule.versions.filter(known) }))
}

function operators(rules: KnownRules) {
  const config = { repeatMs: 2_000, heldWindowsMax: 64 }
  return [windowOperator(WINDOWS), ruleOperator(rules, { config, windows: { allowedLatenessMs: 1_000, outOfOrdernessMs: 200 } })] as const
}

/** What rules say when nothing ever crashes. */
function undisturbed(rules: readonly RuleDocument[], log: readonly LoggedReading[]): string[] {
  const [windows, judge] = operators(new KnownRules(...rules))
  const said: string[] = []
  for (const device of DEVICES) {
    const [windowState, state] = [windows.create('default', device), judge.create('default', device, 'generic')]
    const out: OperatorOutput = {
      emit: (topic, _schema, _tenant, _device, value) => {
        judge.observe(state, topic, value)
        if (topic === 'anomalies') said.push(brief(value as Anomaly))
      },
    }
    for (const reading of log.filter((each) => each.device === device)) {
      windows.apply(windowState, reading, out)
      judge.apply(state, reading, out)
    }
  }
  return said
}

function brief({ id, device, rule, phase, retracted, ts }: Anomaly): string {
  return `${device} ${rule?.id}/${rule?.version} ${retracted ? 'retracted' : phase} ${ts - T0} ${id}`
}

test('rules that change, on a road that crashes at any moment, say what they would have said without, each thing once', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? 7)
  const random = seededRandom(seed)
  const road = new Road()
  await road.start()
  t.after(() => road.end())
  const rules = histories(random, 25_000)
  const known = new KnownRules(...knownAt(rules, T0))
  let sent = 0
  let atMs = T0
  for (let round = 0; round < 5; round++) {
    const documents = crashable(road.documents)
    const consumers: Consumer[] = []
    const config = { checkpointMs: 100 + integerBetween(random, 0, 100), pollRecordsMax: integerBetween(random, 1, 50) }
    const worker = road.worker({ documents, config, operators: operators(known), onConsumer: (consumer) => consumers.push(consumer) })
    await worker.start()
    for (let batch = integerBetween(random, 3, 6); batch > 0; batch--) {
      const readings = Array.from({ length: integerBetween(random, 10, 60) }, (): Partial<Reading> => {
        atMs += integerBetween(random, 1, 60)
        const values = { pressure: integerBetween(random, 60, 95) }
        return {
          device: DEVICES[integerBetween(random, 0, 2)] as string,
          boot: 'b',
          seq: sent++,
          receivedAt: atMs,
          ts: atMs - integerBetween(random, 0, 600),
          values,
        }
      })
      known.become(...knownAt(rules, atMs))
      await road.append(readings)
      await wait(integerBetween(random, 0, 60))
    }
    documents.crashed = true
    worker.stop().catch(() => undefined)
    await wait(60)
    for (const consumer of consumers) await consumer.close()
  }
  const survivor = road.worker({ operators: operators(known) })
  await survivor.start()
  await until(async () => (await road.summary())?.stored === sent, `the ledger (seed ${seed})`)
  await survivor.stop()

  const records = await road.eventLog.read('readings', 0, 0, sent)
  const log = records.map(({ value, partition, offset }) => ({ ...(JSON.parse(utf8Text(value)) as Reading), partition, offset }))
  const bounds = (await road.eventLog.bounds('anomalies')).get(0)
  const told = (await road.eventLog.read('anomalies', 0, 0, bounds?.next ?? 0)).map(({ value }) =>
    brief(JSON.parse(utf8Text(value)) as Anomaly),
  )
  const expected = undisturbed(rules, log)
  assert.ok(expected.length > 50, `only ${expected.length} statements`)
  assert.deepEqual(told.toSorted(), expected.toSorted(), `seed ${seed}`)
  for (const device of DEVICES) {
    const of = (said: string[]): string[] => said.filter((each) => each.startsWith(device))
    assert.deepEqual(of(told), of(expected), `the order of ${device}, seed ${seed}`)
  }
})
