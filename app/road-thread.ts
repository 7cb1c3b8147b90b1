import { parentPort, workerData } from 'node:worker_threads'
import { describeError, FleetpulseError, InternalError } from '../kernel/errors.ts'
import { createLogger } from '../kernel/log.ts'
import { mergedMetricsText, Metrics, type MetricFamily } from '../kernel/metrics.ts'
import { systemRandom } from '../kernel/random.ts'
import { withTimeout } from '../kernel/retry.ts'
import { systemClock } from '../kernel/time.ts'
import { assemble, type Assembly } from './assemble.ts'
import { OperationsServer } from './operations-server.ts'
import { addressesOf } from './ready.ts'
import type { EdgeAnswer, FromRoad, PlainError, RoadThreadData, ToRoad } from './thread-link.ts'

/*
 * The second thread of the single process: everything except the broker and its ingest, so that scoring, storing and answering people
 * never delay an acknowledgement. It shares nothing with the main thread but the stores and the few messages of thread-link.ts.
 */

const ANSWER_TIMEOUT_MS = 2_000

const port = parentPort
if (port === null) throw new InternalError('road-thread.ts runs in a worker thread only')
const { config, targets, processId, dataDirectory } = workerData as RoadThreadData
const log = createLogger({ level: config.platform.logLevel, name: 'road' })
const metrics = new Metrics()
const answers = new Map<number, (answer: EdgeAnswer) => void>()
const stopAsked = new AbortController()
let asked = 0
let assembly: Assembly | undefined
let operationsServer: OperationsServer | undefined

function say(message: FromRoad): void {
  port?.postMessage(message)
}

function ask(question: 'metrics' | 'not-ready'): Promise<EdgeAnswer> {
  const id = asked++
  const answer = new Promise<EdgeAnswer>((resolve) => answers.set(id, resolve))
  say({ kind: 'ask', id, question })
  return withTimeout(systemClock, ANSWER_TIMEOUT_MS, 'the edge', answer).finally(() => answers.delete(id))
}

const operations = {
  metricsText: async (): Promise<string> => mergedMetricsText([await metrics.families(), (await ask('metrics')) as MetricFamily[]]),
  notReady: async (): Promise<Record<string, string>> => {
    try {
      return { ...assembly?.notReady(), ...((await ask('not-ready')) as Record<string, string>) }
    } catch (error) {
      return { edge: describeError(error) }
    }
  },
}

async function start(): Promise<void> {
  const context = {
    config,
    targets,
    processId,
    dataDirectory,
    clock: systemClock,
    random: systemRandom,
    log,
    metrics,
    operations,
    stopAsked: stopAsked.signal,
    tls: () => {
      throw new InternalError('the edge is not in this thread')
    },
  }
  assembly = await assemble(
    context,
    targets.filter((target) => target !== 'edge'),
  )
  const { serverCertificate } = assembly.parts
  serverCertificate?.onServerCertificate((tls) => say({ kind: 'tls', tls }))
  const addresses = addressesOf(assembly)
  if (!targets.includes('dashboard')) {
    const { operationsHost: host, operationsPort } = config.platform
    operationsServer = new OperationsServer({ host, port: operationsPort, operations })
    await operationsServer.start()
    addresses.operations = operationsServer.origin
  }
  say({ kind: 'started', addresses, tls: serverCertificate?.material })
}

function plainError(error: unknown): PlainError {
  if (error instanceof FleetpulseError) return { code: error.code, fault: error.fault, message: describeError(error), remedy: error.remedy }
  return { code: 'INTERNAL', fault: 'bug', message: describeError(error), remedy: undefined }
}

port.on('message', (message: ToRoad) => {
  if (message.kind === 'answer') answers.get(message.id)?.(message.answer)
  else {
    stopAsked.abort()
    void stop()
  }
})

const started = start().catch((error: unknown) => {
  log.debug({ error: error instanceof Error ? error.stack : String(error) }, 'road failed to start')
  say({ kind: 'failed', error: plainError(error) })
  port.close()
})

/** A start that is under way ends with the module that it is at. */
async function stop(): Promise<void> {
  await started
  await operationsServer?.stop()
  await assembly?.stop()
  say({ kind: 'stopped' })
  port?.close()
}
