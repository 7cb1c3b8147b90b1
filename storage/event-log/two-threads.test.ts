import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { message, metricValue, openTemporaryLog, topicSpec } from './temporary-log.ts'
import { appendAndConsume, type ThreadReport, type ThreadTask } from './two-threads.ts'

const MESSAGES = 6_000

test('two threads append to one topic and read all of it, in order, without gaps', async (t) => {
  const { log, directory, metrics, dispose } = await openTemporaryLog({ config: { wakeFallbackMs: 60_000 } })
  t.after(dispose)
  await log.ensureTopics([topicSpec('shared', 3)])
  const task = (name: string): ThreadTask => ({ directory, name, messages: MESSAGES })
  const worker = new Worker(new URL('./two-threads.js', import.meta.url), { workerData: task('worker') })
  t.after(() => worker.terminate())
  await once(worker, 'message')
  const report = once(worker, 'message')
  worker.postMessage('go')
  const mine = await appendAndConsume(log, task('main'))
  const [theirs] = (await report) as [ThreadReport]
  assert.equal(mine.read, MESSAGES * 2)
  assert.equal(theirs.read, MESSAGES * 2)
  t.diagnostic(`median delay between threads under load: ${mine.medianDelayMs} and ${theirs.medianDelayMs} ms`)
  t.diagnostic(`commits repeated in the main thread: ${await metricValue(metrics, 'event_log_commit_conflicts_total')}`)
  const next = [...(await log.bounds('shared')).values()].reduce((sum, bounds) => sum + bounds.next, 0)
  assert.equal(next, MESSAGES * 4 - MESSAGES * 2)
  await log.append('shared', [message('k', 'still works')])
})
