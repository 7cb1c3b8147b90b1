import { describeError, InternalError } from '../../../kernel/errors.ts'
import { systemClock } from '../../../kernel/time.ts'
import { openBackend } from '../backend.ts'
import { calibrate } from './calibration.ts'
import { takeNiceness } from './niceness.ts'
import { Pace } from './pace.ts'
import type { FromTraining, TrainingTask } from './training-run.ts'
import { Training } from './training.ts'

/*
 * A training in a process of its own, all of which has the niceness it was begun with. It takes a share of a core at most, tells what it reached after
 * each epoch, and ends by itself when its time is over, or who asked for it is gone. To cancel it, it is killed.
 */

takeNiceness(Number(process.argv[2]))
process.once('disconnect', () => process.exit())
process.once('message', (task) => void answer(task as TrainingTask))

async function answer(task: TrainingTask): Promise<void> {
  try {
    await train(task)
  } catch (error) {
    await say({ kind: 'failed', why: describeError(error) })
  }
  process.disconnect()
}

/** Resolves when it is on its way. */
function say(message: FromTraining): Promise<void> {
  return new Promise((resolve, reject) => {
    if (process.send === undefined) throw new InternalError('training-process.ts runs as the child of a platform only')
    process.send(message, undefined, {}, (error) => (error === null ? resolve() : reject(error)))
  })
}

async function train({ backend: choice, windows, options, calibration, timeMs, share, workMs, from }: TrainingTask): Promise<void> {
  const backend = await openBackend(choice)
  const training = new Training(backend, windows, options)
  if (from !== null) await training.resume(from)
  const endMs = systemClock.monotonicMs() + timeMs
  const pace = new Pace({ clock: systemClock, share, workMs })
  const goOn = async (): Promise<boolean> => {
    await pace.rest()
    return systemClock.monotonicMs() < endMs
  }
  let inTime = await goOn()
  while (inTime && !training.isDone) {
    inTime = await training.learnEpoch(goOn)
    if (inTime) await say({ kind: 'epoch', checkpoint: await training.checkpoint() })
  }
  if (training.best.epoch === 0) return say({ kind: 'failed', why: `not one epoch was done in ${timeMs} ms` })
  training.useBest()
  await say({
    kind: 'done',
    result: {
      backend: backend.name,
      weights: training.network.weights(),
      calibration: calibrate(training.network, windows, calibration),
      loss: training.best.loss,
      bestEpoch: training.best.epoch,
      epochs: training.epoch,
      inTime,
    },
  })
}
