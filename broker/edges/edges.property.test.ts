import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { until } from '../testing/broker-fixture.ts'
import { EdgeWorld, type TestEdge } from '../testing/edge-world.ts'
import type { PlainClient } from '../testing/plain-client.ts'

const EDGES = 3
const DEVICES = 3
/** Edges die and come back often here; a short lease keeps the test short. */
const LEASE_MS = 400

type Step =
  | { do: 'connect'; device: number; edge: number }
  | { do: 'disconnect'; device: number; orderly: boolean }
  | { do: 'command'; device: number }
  | { do: 'kill' | 'stop' | 'start' | 'cut' | 'mend'; edge: number }

const device = fc.nat(DEVICES - 1)
const edge = fc.nat(EDGES - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('connect' as const), device, edge }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('disconnect' as const), device, orderly: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('command' as const), device }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('kill', 'stop', 'start', 'cut', 'mend'), edge }) },
)

/** Three edges and three devices with persistent sessions, and what each device was sent and has received. */
class Run {
  readonly world: EdgeWorld
  readonly edges: (TestEdge | undefined)[] = []
  readonly connections: PlainClient[][] = Array.from({ length: DEVICES }, () => [])
  readonly sent: string[][] = Array.from({ length: DEVICES }, () => [])

  constructor(world: EdgeWorld) {
    this.world = world
  }

  async begin(): Promise<void> {
    for (let n = 0; n < EDGES; n++) await this.start(n)
    for (let n = 0; n < DEVICES; n++) {
      const client = await this.connect(n, this.edges[n % EDGES]!)
      await client?.subscribe({ [`devices/d${n}/commands/+`]: 1 })
    }
  }

  async take(next: Step): Promise<void> {
    if (next.do === 'command') {
      const text = `d${next.device}-${this.sent[next.device]!.length}`
      this.sent[next.device]!.push(text)
      await this.world.send(`d${next.device}`, `commands/${text}`, text)
    } else if (next.do === 'connect') {
      const to = this.edges[next.edge]
      if (to !== undefined) await this.connect(next.device, to)
    } else if (next.do === 'disconnect') {
      const last = this.connections[next.device]!.at(-1)
      if (next.orderly) last?.disconnect()
      else last?.socket.destroy()
    } else await this.turn(next.do, next.edge)
  }

  /** Everything works again; every device connects and gets what is left. */
  async end(): Promise<void> {
    for (let n = 0; n < EDGES; n++) {
      if (this.edges[n] === undefined) await this.start(n)
      else this.edges[n]!.line.isCut = false
    }
    for (let n = 0; n < DEVICES; n++) {
      const isThere = (): boolean => this.sent[n]!.every((text) => this.received(n).includes(text))
      await until(`every command for d${n}`, async () => (await this.isThrough(n, this.edges[(n + 1) % EDGES]!)) && isThere(), 15_000)
      await this.connections[n]!.at(-1)!.settle()
    }
  }

  /** Devices come again when an edge ends their connection, as one does that finds itself taken for dead on a busy machine. */
  async isThrough(n: number, to: TestEdge): Promise<boolean> {
    const last = this.connections[n]!.at(-1)
    if (last !== undefined && to.broker.isConnected('default', `d${n}`) && !last.socket.destroyed) return true
    return (await this.connect(n, to)) !== undefined
  }

  check(): void {
    for (let n = 0; n < DEVICES; n++) {
      const firsts = [...new Set(this.received(n))]
      assert.deepEqual(firsts, this.sent[n], 'each arrives, in the order in which it was sent')
      for (const { texts, messages } of this.connections[n]!) {
        const seen = messages.map(({ payload, messageId, dup }) => `${String(payload)}:${messageId}:${dup ? 'dup' : 'new'}`)
        assert.equal(new Set(texts).size, texts.length, `none comes twice over one connection: ${seen.join()}`)
      }
      const live = this.edges.filter((of) => of?.broker.isConnected('default', `d${n}`))
      assert.equal(live.length, 1, 'one connection is left')
    }
  }

  received(n: number): string[] {
    return this.connections[n]!.flatMap(({ texts }) => texts)
  }

  async start(n: number): Promise<void> {
    this.edges[n] = await this.world.edge(`edge-${n}`, { edges: { leaseMs: LEASE_MS, followRetryMs: 10, takeoverTimeoutMs: 3_000 } })
  }

  async turn(what: 'kill' | 'stop' | 'start' | 'cut' | 'mend', n: number): Promise<void> {
    const of = this.edges[n]
    if (of === undefined) {
      if (what === 'start') await this.start(n)
    } else if (what === 'cut' || what === 'mend') of.line.isCut = what === 'cut'
    else if (what !== 'start') {
      this.edges[n] = undefined
      await (what === 'kill' ? of.kill() : of.broker.stop())
    }
  }

  /** Undefined when the edge would not, or could not, let it in. */
  async connect(n: number, to: TestEdge): Promise<PlainClient | undefined> {
    // An edge that is cut off answers nobody; its devices would wait, and then try elsewhere.
    if (to.line.isCut) return undefined
    try {
      const client = await this.world.connected(to, `d${n}`, { clean: false })
      this.connections[n]!.push(client)
      return client
    } catch {
      return undefined
    }
  }
}

test('whatever devices and edges do, no command for a persistent session is lost or out of order, and one connection is left', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 30 }), async (steps) => {
      const world = await EdgeWorld.open()
      const run = new Run(world)
      try {
        await run.begin()
        for (const next of steps) await run.take(next)
        await run.end()
        run.check()
      } finally {
        await world.close()
      }
    }),
    {
      numRuns: 8,
      endOnFailure: true,
      includeErrorInReport: true,
      ...(process.env.TEST_SEED === undefined ? {} : { seed: Number(process.env.TEST_SEED) }),
    },
  )
})
