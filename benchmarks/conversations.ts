import { parseArgs } from 'node:util'
import { WireServer } from '../agents/brains/testing/wire-server.ts'
import { honestReply } from '../test/testing/honest-model.ts'
import { besideTheRoad } from './conversations/beside-the-road.ts'
import { soak } from './conversations/soak.ts'
import { storm } from './conversations/storm.ts'

/*
 * Agents in the process that users start. `road`: incidents one after the other while devices publish 10 000 readings a second (each reading
 * is an event on the bus; what the bus carried is printed by topic): how soon agents take an incident up, and how soon its first digest is
 * out. `storm`: 10 000 alerts of 500 devices in a minute from one cause. A server on this machine speaks for the model that words second
 * digests; the time it takes is printed apart. `soak`: incidents come and go for so many seconds (an hour: --part soak --seconds 3600), and what
 * the platform's memory does meanwhile. Times are printed beside what is wanted, and never fail the bench.
 * Options: --part road,storm, --incidents 100, --every-ms 750, --rate 10000, --thinks-ms 500, --alerts 10000, --seconds 60 (of storm and soak).
 */

const { values: options } = parseArgs({
  options: {
    part: { type: 'string', default: 'road,storm' },
    incidents: { type: 'string', default: '100' },
    'every-ms': { type: 'string', default: '750' },
    rate: { type: 'string', default: '10000' },
    'thinks-ms': { type: 'string', default: '500' },
    alerts: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '60' },
  },
})
const parts = options.part.split(',')
const model = new WireServer('compatible')
await model.open()
model.thinksMs = Number(options['thinks-ms'])
model.reply(honestReply)
const env = {
  FLEETPULSE_AGENTS_BRAIN: 'compatible',
  FLEETPULSE_BRAINS_COMPATIBLE_BASE_URL: `${model.origin}/v1`,
  FLEETPULSE_BRAINS_COMPATIBLE_MODEL: 'model-1',
}
const alive = setInterval(() => undefined, 1_000)
try {
  const { incidents, rate, alerts, seconds } = options
  if (parts.includes('road'))
    await besideTheRoad({ incidents: Number(incidents), everyMs: Number(options['every-ms']), rate: Number(rate), model, env })
  if (parts.includes('storm')) await storm({ alerts: Number(alerts), seconds: Number(seconds), model, env })
  if (parts.includes('soak')) await soak({ seconds: Number(seconds), model, env })
} finally {
  clearInterval(alive)
  await model.close()
}
