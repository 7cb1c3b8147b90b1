import assert from 'node:assert/strict'
import { it } from 'node:test'
import { isTestCode, projectFiles, readProjectFile } from '../../test/testing/repository.ts'
import { GROUPS } from './drained.ts'
import { MOVES_COLLECTION } from './move-record.ts'
import { MOVE_RULES } from './move-rules.ts'

const STATIONS = /^(?:alerts|agents|anomaly|broker|contracts|dashboard\/api|device-registry|ingest|processing|provisioning|app)\//
const sources = projectFiles()
  .filter((file) => STATIONS.test(file) && file.endsWith('.ts') && !isTestCode(file) && !file.startsWith('app/migrate/'))
  .map(readProjectFile)

function found(pattern: RegExp): string[] {
  return sources.flatMap((text) => [...text.matchAll(pattern)].map((match) => match[1] as string))
}

it('names every collection that the sources open, and no other', () => {
  const names = new Set([
    ...found(/name: '([a-z-]+)',\s*indexes:/g),
    ...found(/\w*COLLECTION\w* = '([a-z-]+)'/g),
    ...found(/\$\{namespace\}-([a-z]+)`/g).flatMap((rest) => [`broker-${rest}`, `lab-${rest}`]),
    ...found(/'(device-states)' : `device-states-\$\{/g).flatMap((name) => [name, `${name}-anomaly`]),
  ])
  assert.ok(names.size > 20, [...names].join())
  assert.deepEqual([...names].filter((name) => name !== MOVES_COLLECTION).sort(), Object.keys(MOVE_RULES).sort())
})

it('waits for every consumer group of the sources, and no other', () => {
  const groups = new Set(found(/(?:group: |const GROUP = |const PROCESSING = )'([a-z-]+)'/g))
  assert.deepEqual([...groups].sort(), GROUPS.map(({ group }) => group).sort())
})
