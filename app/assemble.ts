import type { Logger } from '../kernel/log.ts'
import { Lifecycle, type Service } from '../kernel/service.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import { describeError } from '../kernel/errors.ts'
import type { BuildContext, Parts } from './module.ts'
import { MODULES, START_ORDER } from './modules.ts'
import { recordStart } from './start-record.ts'
import type { Target } from './targets.ts'
import { topicSpecs } from './topics.ts'

/** The modules of some targets, built and started in this thread. */
export class Assembly {
  readonly parts: Partial<Parts>
  readonly #lifecycle: Lifecycle
  readonly #retention: Timer | undefined

  constructor(parts: Partial<Parts>, lifecycle: Lifecycle, retention: Timer | undefined) {
    this.parts = parts
    this.#lifecycle = lifecycle
    this.#retention = retention
  }

  /** What is not ready here, by module. */
  notReady(): Record<string, string> {
    const troubles: Record<string, string> = {}
    for (const [name, part] of Object.entries(this.parts)) {
      if ('failing' in part && typeof part.failing === 'string') troubles[name] = part.failing
    }
    return troubles
  }

  async stop(): Promise<void> {
    this.#retention?.cancel()
    await this.#lifecycle.stopAll()
  }
}

/** Builds and starts what these of the process's targets run, and what that needs, in the order of the module table. The one composition root. */
export async function assemble(context: BuildContext, targets: readonly Target[]): Promise<Assembly> {
  const wanted = closure(targets, context.targets)
  const parts: Partial<Parts> = {}
  const lifecycle = new Lifecycle({ log: context.log, clock: context.clock, stopTimeoutMs: context.config.platform.stopTimeoutMs })
  try {
    for (const name of START_ORDER) {
      if (!wanted.has(name)) continue
      context.stopAsked.throwIfAborted()
      await buildInto(parts, name, context)
      await lifecycle.start(parts[name] as Service)
      if (name === 'eventLog') await parts.eventLog?.ensureTopics(topicSpecs(context.config))
    }
    // Once per process: with two threads, by the one that does not hold the edge alone.
    const isEdgeThread = targets.length < context.targets.length && targets.includes('edge')
    const { processId: id, config } = context
    if (parts.auditTrail !== undefined && !isEdgeThread) await recordStart(parts.auditTrail, { id, targets: context.targets, config })
  } catch (error) {
    await lifecycle.stopAll()
    throw error
  }
  return new Assembly(parts, lifecycle, seriesRetention(parts, context))
}

/** Each build sees the parts made so far; a later one may be asked for only after the start. */
async function buildInto<K extends keyof Parts>(parts: Partial<Parts>, name: K, context: BuildContext): Promise<void> {
  parts[name] = await MODULES[name].build(context, parts as Parts)
}

function closure(targets: readonly Target[], ofProcess: readonly Target[]): Set<keyof Parts> {
  const wanted = new Set<keyof Parts>()
  const add = (name: keyof Parts): void => {
    const { unless } = MODULES[name]
    if (wanted.has(name) || (unless !== undefined && ofProcess.includes(unless))) return
    wanted.add(name)
    MODULES[name].needs.forEach(add)
  }
  for (const name of START_ORDER) if (MODULES[name].targets.some((target) => targets.includes(target))) add(name)
  return wanted
}

/** Where the series store is written, old readings are removed. */
function seriesRetention(parts: Partial<Parts>, context: { clock: Clock; log: Logger; config: BuildContext['config'] }): Timer | undefined {
  const { seriesRetentionMs, seriesRetentionCheckMs } = context.config.platform
  const { series, readings } = parts
  if (series === undefined || readings === undefined || seriesRetentionMs === 0) return undefined
  const retain = async (): Promise<void> => {
    const removed = await series.retain(context.clock.nowMs() - seriesRetentionMs)
    if (removed > 0) context.log.info({ removed }, 'old readings removed')
  }
  return every(context.clock, seriesRetentionCheckMs, retain, (error) =>
    context.log.error({ error: describeError(error) }, 'old readings not removed'),
  )
}
