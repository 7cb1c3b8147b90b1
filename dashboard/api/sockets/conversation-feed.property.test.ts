import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ConversationFrame, DigestNotice } from '../../../contracts/conversation-frame.ts'
import type { Message } from '../../../contracts/conversation.ts'
import { NotFoundError } from '../../../kernel/errors.ts'
import { nextTurn, VirtualClock } from '../../../kernel/time.ts'
import { ConversationFeed, type FeedView } from './conversation-feed.ts'

/** A conversation whose messages are stored one by one, now and then the later one first; with trouble of the store on demand. */
class World {
  readonly clock = new VirtualClock(0)
  readonly #stored = new Map<number, Message>()
  #next = 1
  version = 1
  failures = 0
  revision = 0
  stars: number | null = null
  isGone = false

  say(count: number, isSwapped: boolean): void {
    const seqs = Array.from({ length: count }, () => this.#next++)
    if (isSwapped) seqs.reverse()
    for (const seq of seqs) this.#late.push({ seq } as Message)
    this.version++
  }
  readonly #late: Message[] = []
  /** One more of what was said can be read. */
  store(): void {
    const message = this.#late.shift()
    if (message !== undefined) this.#stored.set(message.seq, message)
  }
  settle(): void {
    while (this.#late.length > 0) this.store()
    this.failures = 0
  }
  get said(): number[] {
    return Array.from({ length: this.#next - 1 }, (_, i) => i + 1)
  }

  async view(): Promise<FeedView> {
    await nextTurn()
    if (this.isGone) throw new NotFoundError('there is no conversation')
    if (this.failures-- > 0) throw new Error('the store is away')
    const { version, revision } = this
    return { version, revision, incidentId: 'i', speaker: `agent:${version}`, floorEpoch: version, waiting: [] as string[] } as FeedView
  }
  async messages(afterSeq: number): Promise<Message[]> {
    await nextTurn()
    const found = [...this.#stored.values()].filter(({ seq }) => seq > afterSeq)
    return found.sort((a, b) => a.seq - b.seq).slice(0, 3)
  }
  async digest(): Promise<DigestNotice | null> {
    await nextTurn()
    return this.revision === 0
      ? null
      : ({ revision: this.revision, rating: this.stars === null ? null : { stars: this.stars } } as DigestNotice)
  }
}

/** Someone who connects, takes frames at its own pace, loses the connection and comes back with the place it knows. */
class Watcher {
  readonly seqs: number[] = []
  readonly frames: ConversationFrame[] = []
  gone = 0
  feed: ConversationFeed
  readonly #world: World

  constructor(world: World) {
    this.#world = world
    this.feed = this.#connect()
  }
  reconnect(): void {
    this.feed.close()
    this.feed = this.#connect()
  }
  #connect(): ConversationFeed {
    let isOpen = true
    const feed = new ConversationFeed({
      ...{ source: this.#world, clock: this.#world.clock, afterSeq: this.seqs.at(-1) ?? 0 },
      send: async (frame) => {
        await nextTurn()
        if (!isOpen) throw new Error('the connection is gone')
        this.frames.push(frame)
        if (frame.type === 'message') this.seqs.push(frame.message.seq)
      },
      onGone: () => void this.gone++,
      onTrouble: () => undefined,
    })
    const close = feed.close.bind(feed)
    feed.close = () => {
      isOpen = false
      close()
    }
    feed.look(true)
    return feed
  }
}

async function quiet(clock: VirtualClock): Promise<void> {
  for (let i = 0; i < 40; i++) await nextTurn()
  await clock.advance(1_000)
  for (let i = 0; i < 200; i++) await nextTurn()
}

const step = fc.oneof(
  fc.record({ do: fc.constant('say' as const), count: fc.integer({ min: 1, max: 5 }), isSwapped: fc.boolean() }),
  fc.constant({ do: 'store' as const }),
  fc.constant({ do: 'look' as const }),
  fc.record({ do: fc.constant('pause' as const), turns: fc.integer({ min: 1, max: 12 }) }),
  fc.constant({ do: 'reconnect' as const }),
  fc.constant({ do: 'trouble' as const }),
)

test('whatever is lost, repeated, late or cut, a watcher gets every message once and in order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const world = new World()
      const watcher = new Watcher(world)
      for (const each of steps) {
        if (each.do === 'say') world.say(each.count, each.isSwapped)
        else if (each.do === 'store') world.store()
        else if (each.do === 'look') watcher.feed.look()
        else if (each.do === 'reconnect') watcher.reconnect()
        else if (each.do === 'trouble') world.failures = 1
        else for (let turn = 0; turn < each.turns; turn++) await nextTurn()
      }
      world.settle()
      watcher.feed.look()
      await quiet(world.clock)
      assert.deepEqual(watcher.seqs, world.said)
      watcher.feed.close()
    }),
    { numRuns: 60, seed: 8 },
  )
})

test('floor, revisions and ratings are told once each; a conversation that goes ends the feed', async () => {
  const world = new World()
  const watcher = new Watcher(world)
  await quiet(world.clock)
  world.version++
  watcher.feed.look()
  await quiet(world.clock)
  Object.assign(world, { version: 3, revision: 1 })
  watcher.feed.look()
  await quiet(world.clock)
  world.stars = 4
  for (let i = 0; i < 3; i++) {
    watcher.feed.look(true)
    await quiet(world.clock)
  }
  Object.assign(world, { version: 4, revision: 2, stars: null })
  watcher.feed.look()
  await quiet(world.clock)
  assert.deepEqual(
    watcher.frames.map((frame) => (frame.type === 'digest' ? [frame.digest.revision, frame.digest.rating?.stars ?? null] : frame.type)),
    ['conversation', 'caught-up', 'floor', 'conversation', [1, null], [1, 4], 'conversation', [2, null]],
    'a rating is of one revision',
  )
  world.isGone = true
  watcher.feed.look()
  await quiet(world.clock)
  assert.equal(watcher.gone, 1)
  watcher.feed.close()
})
