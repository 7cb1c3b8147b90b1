import { Pulse } from '../../agents/watchdog/pulse.ts'
import { Watchdog } from '../../agents/watchdog/watchdog.ts'
import { TARGETS } from '../targets.ts'
import { topicSpecs } from '../topics.ts'
import type { BuildContext, ModuleTable, Parts } from '../module.ts'
import { STORES } from './stores.ts'

/** What stands behind the alerts of the platform as a whole, of whichever process. */
const SUBJECT = 'fleetpulse'

/** The platform looks at itself: each process says how it is, and one watches them all. */
export const WATCH_MODULES = {
  pulse: {
    // With two threads the one that holds more than the edge speaks for both.
    targets: TARGETS.filter((target) => target !== 'edge'),
    needs: ['documents'],
    build: (context, parts) => pulseOf(context, parts),
  },
  edgePulse: {
    targets: ['edge'],
    needs: ['documents'],
    build: (context, parts) => pulseOf(context, parts, context.targets.length === 1),
  },
  watchdog: {
    targets: ['agents'],
    needs: STORES,
    build: (context, { documents, eventLog }) => {
      const deadLetterTopics = topicSpecs(context.config)
        .map(({ topic }) => topic)
        .filter((topic) => topic.endsWith('.dlq'))
      return new Watchdog({
        ...context,
        documents,
        eventLog,
        config: context.config.watchdog,
        deadLetterTopics,
        works: context.targets.includes('agents'),
      })
    },
  },
  watchdogHealth: {
    targets: ['agents'],
    needs: ['alerts', 'watchdog'],
    build: ({ config }, { alerts, watchdog }) => {
      const source = { processId: SUBJECT, troubles: () => watchdog.look() }
      // How long a trouble must last, the watchdog knows.
      return alerts.watching(source, { healthCheckMs: config.watchdog.lookMs, healthTroubleMs: 0 })
    },
  },
} satisfies Partial<ModuleTable>

function pulseOf(context: BuildContext, { documents }: Parts, works = true): Pulse {
  // Where alerts are, what does not work in the process is told by itself.
  return new Pulse({ ...context, documents, config: context.config.watchdog, tellsItself: context.targets.includes('alerts'), works })
}
