import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { chromium, type Browser, type Page } from 'playwright-core'
import type { Thing } from '../agents/proposals/testing/counting-actions.ts'
import { GROUNDS, incidentOf } from '../agents/proposals/testing/proposals-fixture.ts'
import { ApiFixture, TOKEN } from '../dashboard/api/testing/api-fixture.ts'
import type { Proposal } from '../contracts/proposal.ts'
import type { Collection } from '../storage/documents/documents.ts'
import { violationsOn } from './testing/accessible.ts'
import { ROOT } from './testing/repository.ts'

/* What people decide on the page, in a real browser, over the real API: proposals of agents, and who else may come in. */

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const isThere = existsSync(CHROMIUM)
if (!isThere && process.env.FLEETPULSE_REQUIRE_TOOLS !== '1')
  console.warn(`SKIPPED: the page was not tested, there is no browser at ${CHROMIUM} (set CHROMIUM)`)
const skip = isThere || process.env.FLEETPULSE_REQUIRE_TOOLS === '1' ? false : `there is no browser at ${CHROMIUM}`
const WAIT_MS = 60_000
/** A target is an id; what it is in may be anything. */
const HOSTILE = '<img src=x onerror="document.title=1">'

let api: ApiFixture
let things: Collection<Thing>
let browser: Browser
let page: Page
let origin: string
let conversation: string
const faults: string[] = []

before(
  async () => {
    if (skip !== false) return
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']
    ;[api, browser] = await Promise.all([
      ApiFixture.open({}, {}, join(ROOT, 'dist/web')),
      chromium.launch({ executablePath: CHROMIUM, args }),
    ])
    await api.server.listen({ host: '127.0.0.1', port: 0 })
    origin = `http://127.0.0.1:${(api.server.server.address() as AddressInfo).port}`
    things = await api.services.documents.collection<Thing>({ name: 'test-things', indexes: [] })
    const context = await browser.newContext({ viewport: { width: 1_440, height: 900 } })
    context.setDefaultTimeout(WAIT_MS)
    page = await context.newPage()
    const body = { title: 'pumps', agents: ['triage'], message: 'What is it?' }
    conversation = (await api.ask('POST', '/conversations', { body })).json<{ id: string }>().id
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text())
    })
    page.on('pageerror', (error) => faults.push(String(error)))
    await logIn(TOKEN)
  },
  { timeout: 300_000 },
)
after(async () => {
  await browser?.close()
  await api?.close()
})

async function logIn(token: string): Promise<void> {
  await page.goto(origin)
  await page.getByLabel('Admin token').fill(token)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.locator('[data-live=live]').waitFor()
}

async function proposed(target: string, state = 'running'): Promise<Proposal> {
  await things.put(target, { state, changes: [] })
  const [proposal] = await api.services.proposals.propose(incidentOf(target), conversation, 'agent:dispatcher', GROUNDS)
  assert.ok(proposal !== undefined)
  return proposal
}
const ofProposal = ({ id }: Proposal) => page.locator(`[data-proposal="${id}"]`)

/** Accessible, no wider than a narrow window, and nothing on the console. */
async function check(what: string): Promise<void> {
  const violations = await violationsOn(page)
  assert.deepEqual(
    violations.map(({ id, nodes }) => `${what}: ${id} ${nodes[0]?.html}`),
    [],
  )
  if (process.env.SCREENSHOTS !== undefined) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${what}.png`, fullPage: true })
  await page.setViewportSize({ width: 360, height: 740 })
  assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')) <= 0, `${what} scrolls sideways`)
  await page.setViewportSize({ width: 1_440, height: 900 })
}

test(
  'what would change is shown, approved as shown and done once; a state that moved is refused and shown anew',
  { skip, timeout: 300_000 },
  async () => {
    const first = await proposed('pump-1')
    await page.goto(`${origin}/proposals`)
    await ofProposal(first).locator('[data-changes]').getByText('running').waitFor()
    await ofProposal(first).getByRole('button', { name: 'Approve' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.locator('[data-hash]', { hasText: first.diffHash }).waitFor()
    await check('approving')
    await things.update('pump-1', { $set: { state: HOSTILE } })
    await dialog.getByRole('button', { name: 'Approve' }).click()
    await dialog.getByRole('alert').getByText('what it would change is not what was approved').waitFor()
    await dialog.getByText(HOSTILE).waitFor()
    assert.notEqual(await dialog.locator('[data-hash]').textContent(), first.diffHash)
    assert.deepEqual((await things.get('pump-1'))?.changes, [], 'nothing was done')
    await dialog.getByRole('button', { name: 'Approve' }).click()
    await page.locator(`[data-proposal="${first.id}"][data-state=done] [data-outcome]`).waitFor()
    await ofProposal(first).getByText('Approved by admin').waitFor()
    assert.equal(await ofProposal(first).getByRole('button').count(), 0, 'it cannot be done again')
    assert.deepEqual((await things.get('pump-1'))?.changes, ['user:admin'])
    assert.equal(await page.locator('main img').count(), 0)
    // A refusal is told in the console of the browser as well.
    faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes('409')))
  },
)

test(
  'a proposal comes in by itself and is refused with a reason; one whose time is up cannot be decided',
  { skip, timeout: 300_000 },
  async () => {
    await page.goto(`${origin}/proposals?state=pending`)
    await page.getByText('No proposal matches.').waitFor()
    await page.locator('[data-live=live]').waitFor()
    const second = await proposed('pump-2')
    await ofProposal(second).getByText('ends in').waitFor()
    await check('proposals')
    await ofProposal(second).getByRole('button', { name: 'Refuse' }).click()
    await page.getByRole('dialog').getByLabel('Why').fill(`on site ${HOSTILE}`)
    await page.getByRole('dialog').getByRole('button', { name: 'Refuse' }).click()
    await page.getByText('No proposal matches.').waitFor()
    await page.getByLabel('State').selectOption('rejected')
    await ofProposal(second).getByText(`on site ${HOSTILE}`).waitFor()
    await ofProposal(second).getByText('Refused by admin').waitFor()

    const third = await proposed('pump-3')
    await page.clock.install({ time: third.expiresAt + 1_000 })
    await page.goto(`${origin}/proposals?state=pending`)
    await page.locator(`[data-proposal="${third.id}"][data-state=expired]`).waitFor()
    assert.equal(await ofProposal(third).getByRole('button').count(), 0)
    await page.clock.setSystemTime(third.createdAt)
    assert.equal(await page.locator('main img').count(), 0)
    assert.deepEqual(faults, [])
  },
)

test('an API key is made, its secret shown once; it logs in, is seen to be used, and is revoked', { skip, timeout: 300_000 }, async () => {
  await page.goto(`${origin}/api-keys`)
  await page.getByText('There are no API keys.').waitFor()
  await page.getByRole('button', { name: 'Make a key' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Name').fill('Ana')
  await dialog.getByLabel('Role').selectOption('operator')
  await dialog.getByLabel('Scopes').fill('nonsense')
  await dialog.getByRole('button', { name: 'Make it' }).click()
  await dialog.getByRole('alert').getByText('scopes').waitFor()
  await dialog.getByLabel('Scopes').fill('read:*, write:alerts')
  await dialog.getByRole('button', { name: 'Make it' }).click()
  const secret = (await page.locator('[data-secret]').textContent()) ?? ''
  const row = page.locator('tr[data-key=Ana]')
  await row.locator('[data-scopes]', { hasText: 'read:* write:alerts' }).waitFor()
  await row.getByText('never').waitFor()
  await check('a key')
  await page.reload()
  await row.waitFor()
  assert.equal((await page.content()).includes(secret), false, 'it is shown once')
  const asks = (): Promise<number> =>
    fetch(`${origin}/api/v1/alerts`, { headers: { authorization: `Bearer ${secret}` } }).then(({ status }) => status)
  assert.equal(await asks(), 200)
  await page.reload()
  await row.getByText('never').waitFor({ state: 'detached' })
  await row.getByRole('button', { name: 'Revoke' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
  await page.locator('tr[data-key=Ana][data-state=revoked]').getByText('by user:admin').waitFor()
  assert.equal(await asks(), 401)
  await check('keys')
  faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes('400')))
  assert.deepEqual(faults, [])
})
