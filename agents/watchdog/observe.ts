import type { WatchdogConfig } from './config.ts'
import type { PulseDocument } from './pulse.ts'
import type { Observation, Progress, WatchDocument } from './watch-state.ts'

const CRITICAL = 'critical' as const
const WARNING = 'warning' as const

/** Everything that is not well, pure: from what processes wrote, how the log grew, and when things changed last. */
export function observe(
  pulses: readonly PulseDocument[],
  remembered: Omit<WatchDocument, 'holder' | 'leaseUntil' | 'parts'>,
  nowMs: number,
  config: WatchdogConfig,
): Observation[] {
  const seenAt = new Map(remembered.pulses.map(({ id, seenAt: at }) => [id, at]))
  const ages = (process: string): number => nowMs - (seenAt.get(process) ?? nowMs)
  const heard = pulses.filter(({ process }) => ages(process) < config.silentMs)
  const silent = pulses.filter(({ process }) => ages(process) >= config.silentMs && ages(process) < config.forgetMs)
  return [
    ...silent.map((pulse) => silence(pulse, ages(pulse.process))),
    ...heard.flatMap((pulse) => (pulse.tellsItself ? [] : partsOf(pulse))),
    ...heard.flatMap((pulse) => clockOf(pulse, ages(pulse.process), nowMs, config)),
    ...lagsOf(heard, config),
    ...breakersOf(heard),
    ...deadLettersOf(remembered.deadLetters, config),
    ...trainingsOf(remembered.trainings, nowMs, config),
  ]
}

function silence({ process, targets }: PulseDocument, ageMs: number): Observation {
  return {
    ...{ part: `process ${process}`, kind: 'silent', level: 'bad', severity: CRITICAL },
    what: `process ${process} (${targets.join(', ')}) is not heard of`,
    ...{ observed: Math.round(ageMs / 1_000), limit: null },
  }
}

function partsOf({ process, notReady }: PulseDocument): Observation[] {
  return notReady.map(({ part, what }) => ({
    ...{ part: `${part} in ${process}`, kind: 'part', level: 'bad', severity: CRITICAL, what, observed: null, limit: null },
  }))
}

/** A pulse is at most as old as the time since it changed; what is beyond that, or in the future, is the clock's. */
function clockOf(
  { process, at }: PulseDocument,
  ageMs: number,
  nowMs: number,
  { clockSkewMs, pulseMs, lookMs }: WatchdogConfig,
): Observation[] {
  const ahead = at - nowMs
  const offMs = ahead > 0 ? ahead : Math.max(0, -ahead - ageMs - pulseMs - lookMs)
  if (offMs <= clockSkewMs / 2) return []
  return [
    {
      ...{ part: `clock of ${process}`, kind: 'clock', level: offMs > clockSkewMs ? 'bad' : 'between', severity: WARNING },
      what: `the clock of process ${process} is ${ahead > 0 ? 'ahead of' : 'behind'} the others`,
      ...{ observed: Math.round(offMs / 1_000), limit: clockSkewMs / 1_000 },
    },
  ]
}

/** Each process tells of the partitions that it has. */
function lagsOf(heard: readonly PulseDocument[], { lagMessagesMax }: WatchdogConfig): Observation[] {
  const byGroup = new Map<string, { group: string; topic: string; messages: number }>()
  for (const { lags } of heard) {
    for (const lag of lags) {
      const key = JSON.stringify([lag.group, lag.topic])
      byGroup.set(key, { ...lag, messages: lag.messages + (byGroup.get(key)?.messages ?? 0) })
    }
  }
  return [...byGroup.values()].flatMap(({ group, topic, messages }): Observation[] => {
    if (messages <= lagMessagesMax / 2) return []
    return [
      {
        ...{ part: `consumer ${group} of ${topic}`, kind: 'lag', level: messages > lagMessagesMax ? 'bad' : 'between', severity: WARNING },
        ...{ what: `consumer group ${group} is far behind on topic ${topic}`, observed: messages, limit: lagMessagesMax },
      },
    ]
  })
}

/** Half-open is neither: it has failed, and is being tried. */
function breakersOf(heard: readonly PulseDocument[]): Observation[] {
  const worst = new Map<string, number>()
  for (const { breakers } of heard)
    for (const { provider, state } of breakers) worst.set(provider, Math.max(state, worst.get(provider) ?? 0))
  return [...worst].flatMap(([provider, state]): Observation[] => {
    if (state === 0) return []
    return [
      {
        ...{ part: `breaker of ${provider}`, kind: 'breaker', level: state === 2 ? 'bad' : 'between', severity: WARNING },
        ...{ what: `${provider} failed so often in a row that it is not asked for a while`, observed: null, limit: null },
      },
    ]
  })
}

function deadLettersOf(topics: WatchDocument['deadLetters'], { deadLettersMax }: WatchdogConfig): Observation[] {
  return topics.flatMap(({ topic, older, next }): Observation[] => {
    const grown = next - older.next
    if (grown <= 0) return []
    return [
      {
        ...{
          part: `dead letters of ${topic}`,
          kind: 'dead-letters',
          level: grown >= deadLettersMax ? 'bad' : 'between',
          severity: WARNING,
        },
        ...{ what: `more and more of topic ${topic} is set aside`, observed: grown, limit: deadLettersMax },
      },
    ]
  })
}

function trainingsOf(trainings: readonly Progress[], nowMs: number, { trainingStuckMs }: WatchdogConfig): Observation[] {
  return trainings.flatMap(({ id, seenAt }): Observation[] => {
    if (nowMs - seenAt < trainingStuckMs) return []
    const minutes = Math.round((nowMs - seenAt) / 60_000)
    return [
      {
        ...{ part: `training of ${id}`, kind: 'training', level: 'bad', severity: WARNING },
        ...{ what: `the training of ${id} makes no progress`, observed: minutes, limit: trainingStuckMs / 60_000 },
      },
    ]
  })
}
