import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { projectFiles, readProjectFile, ROOT } from './testing/repository.ts'

const files = projectFiles()
const pages = files.filter((file) => file.endsWith('.md'))
const DECISION_LINES_MAX = 60

test('every link of a page leads to a file', () => {
  const broken = pages.flatMap((page) =>
    [...readProjectFile(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => join(dirname(page), target as string))
      .filter((target) => !existsSync(join(ROOT, target)))
      .map((target) => `${page}: ${target}`),
  )
  assert.ok(pages.length > 10)
  assert.deepEqual(broken, [])
})

test('every source file that a page names exists', () => {
  const named = (page: string): string[] =>
    [...readProjectFile(page).matchAll(/`([\w./-]+\.(?:ts|mjs|cjs))`/g)].map(([, name]) => name as string)
  const missing = pages.flatMap((page) =>
    named(page)
      .filter((name) => !files.some((file) => file === name || file.endsWith(`/${name}`)))
      .map((name) => `${page}: ${name}`),
  )
  assert.deepEqual(missing, [])
})

test('every decision has a number of its own, is listed, and fits on a page', () => {
  const decisions = pages.filter((page) => /^docs\/decisions\/\d{4}-/.test(page))
  const list = readProjectFile('docs/decisions/README.md')
  assert.ok(decisions.length > 10)
  decisions.forEach((page, at) => {
    const name = page.split('/').at(-1) as string
    const number = String(at + 1).padStart(4, '0')
    const text = readProjectFile(page)
    assert.ok(name.startsWith(number), `${page} is out of order`)
    assert.match(text, new RegExp(`^# ${number} `), page)
    assert.ok(list.includes(`[${number}](${name})`), `${page} is not listed`)
    assert.ok(text.trimEnd().split('\n').length <= DECISION_LINES_MAX, `${page} is too long`)
  })
})
