import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StoreError } from '../kernel/errors.ts'
import { silentLogger } from '../kernel/log.ts'
import { systemClock } from '../kernel/time.ts'
import type { Consumer, TopicMessages } from '../storage/event-log/event-log.ts'
import type { ProcessingConfig } from './config.ts'
import { OutputCommitter } from './output-committer.ts'

function committerOf(commit: (outputs: readonly TopicMessages[]) => Promise<void>): OutputCommitter {
  const consumer = { commit: (_offsets: unknown, outputs: readonly TopicMessages[]) => commit(outputs) } as unknown as Consumer
  const config = { retryInitialMs: 1, retryMaxMs: 2 } as ProcessingConfig
  const onFenced = (): void => assert.fail('nobody else has the partitions')
  return new OutputCommitter({ consumer, config, clock: systemClock, log: silentLogger, onFenced })
}

const texts = (outputs: readonly TopicMessages[]): string[] =>
  outputs.flatMap(({ messages }) => messages.map(({ value }) => value.toString()))

test('a commit that failed may still read what it was given, while the memory of those that succeeded is used again', async () => {
  const tries: { outputs: readonly TopicMessages[]; said: string[] }[] = []
  const memory = new Set<ArrayBufferLike>()
  const committer = committerOf(async (outputs) => {
    tries.push({ outputs, said: texts(outputs) })
    if (tries.length === 1) throw new StoreError('STORE_UNUSABLE', 'no answer: it may be under way')
    for (const { messages } of outputs) for (const { value } of messages) if (tries.length > 2) memory.add(value.buffer)
  })
  for (let k = 0; k < 20; k++) {
    committer.addJson('windows', `device-${k}`, 'window/1', { k })
    await committer.flush()
  }
  assert.deepEqual(
    tries.map(({ said }) => said),
    [['{"k":0}'], ...Array.from({ length: 20 }, (_, k) => [`{"k":${k}}`])],
  )
  assert.deepEqual(texts(tries[0]?.outputs ?? []), ['{"k":0}'])
  assert.equal(memory.size, 1)
})
