import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { constants, platform } from 'node:os'
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
      timeMs: 60_000,
      share: 1,
      workMs: 20,
      from: null,
      memoryMb: 128,
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
  const priorities = new Set<string>()
  const onEpoch = (checkpoint: Checkpoint): Promise<boolean> => {
    if (isLinux) for (const pid of children()) for (const thread of threads(pid)) priorities.add(niceOf(pid, thread))
    return Promise.resolve(told.push(checkpoint) > 0)
  }
  const whole = await runTraining(options({ onEpoch }))
  if (isLinux) {
    assert.deepEqual([...priorities], [String(constants.priority.PRIORITY_LOW)], 'every thread of it has the lowest priority')
    assert.deepEqual(children(), [], 'it is gone')
  }
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
      calibration: { quantile: 0.995, margin: 1.5 }, timeMs: 60_000, memoryMb: 128, signal: new AbortController().signal,
      onEpoch: async () => process.stdout.write('epoch') })`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(parent.stdout, 'data')
  const [pid] = children(parent.pid)
  assert.ok(pid !== undefined)
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  const endMs = systemClock.monotonicMs() + 20_000
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
