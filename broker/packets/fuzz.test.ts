import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parser, type Packet } from 'mqtt-packet'
import { integerBetween, seededRandom, type Random } from '../../kernel/random.ts'
import { CollectedIntake } from './testing/collected-intake.ts'
import { defaultLimits } from './testing/default-limits.ts'
import { GOLDEN_CASES } from './testing/golden.ts'
import { connect } from './testing/wire.ts'

const CASES = 50_000
const SEED = 'fuzz 1'
const limits = defaultLimits({ packetBytesMax: 4_096, bufferedBytesMax: 4_096, inflightMax: 65_535 })
const DEVICE_COMMANDS = new Set(['connect', 'publish', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'subscribe', 'unsubscribe', 'disconnect'])
const sends = (cases: typeof GOLDEN_CASES): Buffer[] =>
  cases.flatMap((golden) => golden.steps.flatMap((step) => ('send' in step && step.send.length > 0 ? [step.send] : [])))
const goodSeeds = sends(GOLDEN_CASES.filter((golden) => golden.hello === 'clean' && golden.then === 'open'))
const anySeeds = sends(GOLDEN_CASES)

function randomBytes(random: Random, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => integerBetween(random, 0, 255)))
}

function seedPacket(random: Random): Buffer {
  const seeds = random.next() < 0.7 ? goodSeeds : anySeeds
  return seeds[integerBetween(random, 0, seeds.length - 1)]!
}

/** A golden packet with a few bytes changed, put in, taken out, or the packet cut and joined with another. */
function mutated(random: Random): Buffer {
  let bytes = Buffer.from(seedPacket(random))
  for (let round = integerBetween(random, -2, 3); round > 0 && bytes.length > 0; round--) {
    const at = integerBetween(random, 0, bytes.length - 1)
    const kind = integerBetween(random, 0, 3)
    if (kind === 0) bytes[at] = integerBetween(random, 0, 255)
    else if (kind === 1)
      bytes = Buffer.concat([bytes.subarray(0, at), randomBytes(random, integerBetween(random, 1, 4)), bytes.subarray(at)])
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + integerBetween(random, 1, 3))])
    else bytes = Buffer.concat([bytes.subarray(0, at), seedPacket(random)])
  }
  return bytes
}

/** What another parser makes of bytes that were passed on: it must like all of them. */
function parsed(bytes: Buffer): Packet[] {
  const packets: Packet[] = []
  const reference = parser()
  reference.on('packet', (packet) => packets.push(packet))
  reference.on('error', (error) => assert.fail(error))
  assert.equal(reference.parse(bytes), 0, 'a part of a packet was passed on')
  return packets
}

function assertGood(packet: Packet): void {
  assert.ok(DEVICE_COMMANDS.has(packet.cmd), packet.cmd)
  const names: string[] = []
  const filters: string[] = []
  if (packet.cmd === 'connect') {
    assert.equal(packet.keepalive, 0)
    names.push(...(packet.will === undefined ? [] : [packet.will.topic]))
    assertText(packet.clientId)
    assert.ok((packet.will?.qos ?? 0) < 3)
  } else if (packet.cmd === 'publish') {
    names.push(packet.topic)
    assert.ok(packet.qos < 3 && !(packet.qos === 0 && packet.dup))
    assert.ok(packet.qos === 0 || packet.messageId! > 0)
  } else if (packet.cmd === 'subscribe') filters.push(...packet.subscriptions.map((subscription) => subscription.topic))
  else if (packet.cmd === 'unsubscribe') filters.push(...packet.unsubscriptions)
  if (packet.cmd === 'subscribe' || packet.cmd === 'unsubscribe') assert.ok(filters.length > 0 && packet.messageId! > 0)
  for (const name of names) assert.ok(name.length > 0 && !/[#+]/.test(name), name)
  for (const filter of filters) {
    const levels = filter.split('/')
    assert.ok(filter.length > 0, filter)
    assert.ok(
      levels.every((level, i) => !/[#+]/.test(level) || level === '+' || (level === '#' && i === levels.length - 1)),
      filter,
    )
  }
  for (const text of [...names, ...filters]) assertText(text)
}

function assertText(text: string): void {
  // Bytes that are no UTF-8 come out of the reference parser as U+FFFD, which none of the seeds holds.
  assert.doesNotMatch(text, /[\u0000-\u001f\u007f-\u009f\ufffd-\uffff]|\p{Surrogate}/u)
}

it(`lets nothing malformed through, throws nothing, keeps little: ${CASES} cases, seed "${SEED}"`, () => {
  const random = seededRandom(SEED)
  let good = 0
  for (let i = 0; i < CASES; i++) {
    const intake = new CollectedIntake(limits)
    const parts = Array.from({ length: integerBetween(random, 1, 3) }, () =>
      integerBetween(random, 0, 9) === 0 ? randomBytes(random, integerBetween(random, 1, 40)) : mutated(random),
    )
    const bytes = Buffer.concat(integerBetween(random, 0, 4) === 0 ? parts : [connect(), ...parts])
    const cut = integerBetween(random, 0, bytes.length)
    intake.take(bytes, [cut])
    const { passedOn, violation } = intake.outcome
    const packets = parsed(passedOn)
    for (const packet of packets) assertGood(packet)
    good += packets.filter((packet) => packet.cmd !== 'connect').length
    assert.ok(intake.intake.pendingBytes <= limits.packetBytesMax)
    if (violation !== undefined) {
      intake.take(connect())
      assert.equal(intake.outcome.passedOn.length, passedOn.length, 'went on after a violation')
    }
  }
  assert.ok(good > CASES / 4, `only ${good} packets were good: the seeds are too bad to test much`)
})
