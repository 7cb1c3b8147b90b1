import { fork, type ChildProcess } from 'node:child_process'
import { describeError } from '../../../kernel/errors.ts'
import type { BackendChoice } from '../backend.ts'
import type { Calibration, CalibrationOptions } from './calibration.ts'
import type { Checkpoint, TrainingOptions, TrainingWindows } from './training.ts'

/** What the training's process is given. */
export interface TrainingTask {
  backend: BackendChoice
  windows: TrainingWindows
  options: TrainingOptions
  calibration: CalibrationOptions
  /** Time it may take, share of a core, and how long it works at a time. */
  timeMs: number
  share: number
  workMs: number
  from: Checkpoint | null
}

export interface TrainingResult {
  backend: string
  weights: Float32Array
  calibration: Calibration
  loss: number
  bestEpoch: number
  epochs: number
  /** False: its time was over, and this is the best until then. */
  inTime: boolean
}

export type FromTraining =
  { kind: 'epoch'; checkpoint: Checkpoint } | { kind: 'done'; result: TrainingResult } | { kind: 'failed'; why: string }

export type TrainingOutcome = { status: 'done'; result: TrainingResult } | { status: 'failed'; why: string } | { status: 'cancelled' }

export interface TrainingRunOptions extends TrainingTask {
  memoryMb: number
  /** Of all its threads, 0 to 19 (the lowest priority). */
  nice: number
  /** After each epoch; answers false when the training is to end. The next epoch does not wait for it. */
  onEpoch: (checkpoint: Checkpoint) => Promise<boolean>
  signal: AbortSignal
}

const TRAINING_PROCESS = new URL('./training-process.js', import.meta.url)
/** Of what the process says of its end; the heap's is in the first lines. */
const LAST_WORDS_CHARS = 4_096

/** Trains in a process of its own; ends with an outcome, whatever happens there. Aborting the signal, or an answer of `onEpoch`, cancels it. */
export async function runTraining({ memoryMb, nice, onEpoch, signal, ...task }: TrainingRunOptions): Promise<TrainingOutcome> {
  if (signal.aborted) return { status: 'cancelled' }
  const child = begin(memoryMb, nice)
  let outcome: TrainingOutcome | undefined
  let telling: Promise<void> = Promise.resolve()
  const end = (why: TrainingOutcome): void => {
    outcome = why
    child.kill('SIGKILL')
  }
  const cancel = (): void => end({ status: 'cancelled' })
  signal.addEventListener('abort', cancel, { once: true })
  child.on('message', (message: FromTraining) => {
    if (outcome !== undefined) return
    if (message.kind === 'done') outcome = { status: 'done', result: message.result }
    else if (message.kind === 'failed') outcome = { status: 'failed', why: message.why }
    else telling = telling.then(async () => ((await onEpoch(message.checkpoint)) ? undefined : cancel()))
    // What cannot be kept of an epoch ends the training; the one before can be gone on from.
    telling = telling.catch((error: unknown) => end({ status: 'failed', why: describeError(error) }))
  })
  const ended = endOf(child, memoryMb)
  child.send(task, (error) => (error === null || outcome !== undefined ? undefined : child.kill('SIGKILL')))
  const why = await ended
  await telling
  signal.removeEventListener('abort', cancel)
  return outcome ?? { status: 'failed', why }
}

/** One thread does everything in it, so that a share of a core is one; of the environment it gets what Node itself needs. */
function begin(memoryMb: number, nice: number): ChildProcess {
  const own = Object.entries(process.env).filter(
    ([name]) => name === 'PATH' || name.startsWith('NODE_') || name.toUpperCase() === 'SYSTEMROOT',
  )
  return fork(TRAINING_PROCESS, [String(nice)], {
    execArgv: ['--single-threaded', `--max-old-space-size=${memoryMb}`],
    env: Object.fromEntries(own),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced',
  })
}

/** Resolves when the process is gone and everything that it told has been heard, with why it may have ended too early. */
function endOf(child: ChildProcess, memoryMb: number): Promise<string> {
  let lastWords = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (lastWords = (lastWords + text).slice(0, LAST_WORDS_CHARS)))
  return new Promise((resolve) => {
    let waitsFor = 2
    const isOver = (): void => {
      if (--waitsFor > 0) return
      const tooMuch = lastWords.includes('heap out of memory')
      const how = `its process ended before it was done (${child.signalCode ?? `code ${child.exitCode}`})`
      resolve(tooMuch ? `it needs more than the ${memoryMb} MiB of models.trainingMemoryMb` : how)
    }
    child.once('disconnect', isOver)
    child.once('close', isOver)
    child.once('error', (error) => {
      // One that began is waited for.
      if (child.pid === undefined) resolve(`its process could not begin: ${describeError(error)}`)
    })
  })
}
