import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { environmentName, loadConfig } from '../app/config.ts'
import { SECTIONS } from '../app/config-sections.ts'
import { configurationPage } from './testing/configuration-page.ts'
import { readProjectFile, ROOT } from './testing/repository.ts'

const PAGE = 'docs/configuration.md'

test('docs/configuration.md says what the schemas say (UPDATE_DOCS=1 writes it anew)', () => {
  const page = configurationPage()
  if (process.env.UPDATE_DOCS === '1') writeFileSync(join(ROOT, PAGE), page)
  assert.equal(readProjectFile(PAGE), page)
})

test('every setting has a description and a default, and its variable is its own', () => {
  const rows = configurationPage()
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.slice(2, -2).split(' | '))
  assert.ok(rows.length > 150, `only ${rows.length} settings were found`)
  const undescribed = rows.filter((cells) => cells.length !== 5 || cells[4] === '' || cells[3] === '`undefined`')
  assert.deepEqual(undescribed, [])
  const variables = rows.map((cells) => cells[1])
  assert.deepEqual(
    variables.filter((name, at) => variables.indexOf(name) !== at),
    [],
    'two settings share a variable',
  )
})

test('the variable that the page names is the one that is read, nested settings included', () => {
  const [key, name] = rowOf('broker', 'packets.packetBytesMax')
  const config = loadConfig({ env: { [name]: '4096' }, file: join(ROOT, 'no-such-file.json') })
  assert.equal(key, 'packets.packetBytesMax')
  assert.equal(config.broker.packets.packetBytesMax, 4_096)
})

function rowOf(section: keyof typeof SECTIONS, path: string): [string, string] {
  const [outer, inner] = path.split('.') as [string, string]
  const properties = SECTIONS[section].properties as unknown as Record<string, { properties: Record<string, never> }>
  const name = environmentName(section, path.replace('.', '_'), properties[outer]?.properties[inner] as never)
  assert.ok(configurationPage().includes(`| \`${path}\` | \`${name}\` |`), `${path} has no row with ${name}`)
  return [path, name]
}
