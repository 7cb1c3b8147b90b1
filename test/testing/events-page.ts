import { deprecationOf } from '../../agents/bus/deprecations.ts'
import { EVENT_SCHEMAS, latestVersion } from '../../agents/bus/event-schemas.ts'
import { EVENT_TOPICS, EVENT_TYPES } from '../../agents/bus/event-types.ts'

/** Where the table begins in docs/events.md; what stands above is written by people. */
export const CATALOGUE = '## Catalogue\n'

/** The catalogue as docs/events.md shows it. */
export function eventCatalogue(): string {
  const rows = EVENT_TYPES.flatMap((type) =>
    EVENT_SCHEMAS[type].map((_schema, i) => {
      const version = i + 1
      const deprecation = deprecationOf(type, version)
      const state =
        version === latestVersion(type) ? 'written' : deprecation === null ? 'read' : deprecation.retired ? 'retired' : 'deprecated'
      const { since = '', until = '', replacedBy = '' } = deprecation ?? {}
      return `| ${type} | ${version} | ${EVENT_TOPICS[type]} | ${state} | ${since} | ${until} | ${replacedBy} |`
    }),
  )
  const head = ['| event | version | topic | state | since | read until at least | replaced by |', '|---|---|---|---|---|---|---|']
  return [CATALOGUE, ...head, ...rows, ''].join('\n')
}
