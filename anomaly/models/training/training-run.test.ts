import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { platform } from 'node:os'
import { test } from 'node:test'
import { systemClock } from '../../../kernel/time.ts'
import { pumpDataset } from '../testing/trained-model.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint-codec.ts'
import { runTraining, type TrainingRunOptions } from './training-run.ts'
import type { Checkpoint } from './training.ts'

const { windows } = await pumpDataset(2, 400)
const isLinux = platform() === 'linux'

function options(changes: Partial<TrainingRunOptions> = {}): TrainingRunOptions {
  return {
    ...{
      backend: 'wasm',
      windows,
      calibration: { quantile: 0.995, margin: 1.5 },
      timeMs: 600_000,
      share: 1,
      workMs: 20,
      from: null,
      memoryMb: 128,
      nice: 0,
    },
    ...{
      options: { seed: 1, epochsMax: 3, patienceEpochs: 5 },
      onEpoch: () => Promise.resolve(true),
      signal: new AbortController().signal,
    },
    ...changes,
  }
}

test('a process trains, tells each epoch, and goes on from a checkpoint to the same model', async () => {
  const told: Checkpoint[] = []
  const whole = await runTraining(options({ onEpoch: (checkpoint) => Promise.resolve(told.push(checkpoint) > 0) }))
  if (isLinux) assert.deepEqual(children(), [], 'it is gone')
  assert.ok(whole.status === 'done' && whole.result.inTime)
  assert.deepEqual(
    told.map(({ epoch }) => epoch),
    [1, 2, 3],
  )
  const stored = encodeCheckpoint('sum', told[0]!)
  const from = decodeCheckpoint(stored, 'sum')
  assert.deepEqual(from, told[0])
  assert.equal(decodeCheckpoint(stored, 'another sum'), null)
  const rest = await runTraining(options({ from }))
  assert.ok(rest.status === 'done')
  assert.deepEqual(rest.result.weights, whole.result.weights)
  assert.deepEqual(rest.result.calibration, whole.result.calibration)
})

test('every thread of it has the niceness that is configured', { skip: !isLinux && 'it is looked for in /proc' }, async () => {
  const niceness = new Set<string>()
  const onEpoch = (): Promise<boolean> => {
    for (const pid of children()) for (const thread of threads(pid)) niceness.add(niceOf(pid, thread))
    return Promise.resolve(false)
  }
  assert.equal((await runTraining(options({ onEpoch, nice: 7 }))).status, 'cancelled')
  assert.deepEqual([...niceness], ['7'])
})

test('it ends when it is told to, when its time is over, and when it takes too much memory', async () => {
  const abort = new AbortController()
  const endless = { seed: 1, epochsMax: 5_000, patienceEpochs: 5_000 }
  const [aborted, hurried, starved] = await Promise.all([
    runTraining(options({ signal: abort.signal, onEpoch: async () => (abort.abort(), true), options: endless })),
    runTraining(options({ timeMs: 1 })),
    runTraining(options({ memoryMb: 8 })),
  ])
  assert.equal(aborted.status, 'cancelled')
  assert.ok(hurried.status === 'failed' && /not one epoch/.test(hurried.why))
  assert.ok(starved.status === 'failed' && /models.trainingMemoryMb/.test(starved.why), JSON.stringify(starved))
})

test('it ends with the platform that asked for it', { skip: !isLinux && 'it is looked for in /proc' }, async () => {
  const code = `
    const { runTraining } = await import(${JSON.stringify(new URL('./training-run.js', import.meta.url).href)})
    const { pumpDataset } = await import(${JSON.stringify(new URL('../testing/trained-model.js', import.meta.url).href)})
    const { windows } = await pumpDataset(2, 400)
    await runTraining({ backend: 'cpu', windows, options: { seed: 1, epochsMax: 10_000, patienceEpochs: 10_000 }, share: 0.2, workMs: 20, from: null,
      calibration: { quantile: 0.995, margin: 1.5 }, timeMs: 600_000, memoryMb: 128, nice: 0, signal: new AbortController().signal,
      onEpoch: async () => process.stdout.write('epoch') })`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(parent, 'exit')
  await Promise.race([once(parent.stdout, 'data'), exited])
  assert.equal(parent.exitCode, null, 'it ended before its training had an epoch')
  const [pid] = children(parent.pid)
  assert.ok(pid !== undefined)
  parent.kill('SIGKILL')
  await exited
  const endMs = systemClock.monotonicMs() + 60_000
  while (await isTraining(pid)) assert.ok(systemClock.monotonicMs() < endMs, 'it goes on without anybody who asked for it')
})

async function isTraining(pid: string): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes('training-process')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Ids of training processes that this one, or another, began. */
function children(of = process.pid): string[] {
  const pids = threads(of).flatMap((thread) => readFileSync(`/proc/${of}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean))
  return pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('training-process'))
}

function threads(pid: number | string): string[] {
  return readdirSync(`/proc/${pid}/task`)
}

/** The 19th field; the second, a name, may hold spaces. */
function niceOf(pid: string, thread: string): string {
  return readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ')[1]!.split(' ')[16]!
}
