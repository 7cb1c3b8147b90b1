import { MessageChannel } from 'node:worker_threads'
import { NotFoundError } from '../../../kernel/errors.ts'
import { sleep, systemClock } from '../../../kernel/time.ts'
import { printNow } from '../../../storage/testing/print-now.ts'
import { Decommission } from '../decommission.ts'
import { DecommissionWork } from '../decommission-work.ts'
import { killedAt } from './killed-at.ts'
import { LeavingWorld } from './leaving-world.ts'

/**
 * Goes on with what the last run of this folder left, then leads a new device out and kills itself right after so many writes, or, with 0, when
 * all are out.
 */
const [folder, at] = process.argv.slice(2)
if (folder === undefined || at === undefined) throw new TypeError('usage: killed-child FOLDER WRITES')
// Timers of the platform do not keep a process alive.
const hold = new MessageChannel()
hold.port1.ref()
hold.port1.start()
const closers: (() => Promise<void>)[] = []
const world = await LeavingWorld.openIn({ after: (close) => void closers.push(close as () => Promise<void>) }, folder)
const desk = new Decommission(world.options())
await desk.start()
const work = await world.work()
const isOut = async (service: Decommission, device: string): Promise<boolean> => (await service.get('default', device)).state === 'done'
const wasAsked = (device: string): Promise<boolean> =>
  desk.get('default', device).then(
    () => true,
    (error: unknown) => {
      if (error instanceof NotFoundError) return false
      throw error
    },
  )
const pause = (): Promise<void> => sleep(systemClock, 5)
for (const { id } of (await world.registry.listDevices({ tenant: 'default', limit: 1_000 })).items) {
  // Killed before anything was written.
  if (!(await wasAsked(id))) continue
  while (!(await isOut(desk, id))) await pause()
  printNow(`out ${id} ${await desk.receipt('default', id)}\n`)
}
if (at !== '0') {
  const device = `d${at}`
  await world.device(device, 12)
  await work.stop()
  const mortals = killedAt(Number(at), () => process.kill(process.pid, 'SIGKILL')).wrapAll(world.options())
  const service = new Decommission(mortals)
  await service.start()
  await new DecommissionWork(mortals).start()
  await service.decommission('default', device, { readings: 'erase' }, 'user:t')
  while (!(await isOut(service, device))) await pause()
  printNow('never killed\n')
}
for (const close of closers) await close()
hold.port1.close()
