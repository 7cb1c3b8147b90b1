import assert from 'node:assert/strict'
import type { Page } from 'playwright-core'
import type { Conversation } from '../../contracts/conversation.ts'
import { until, type PlatformProcess } from './platform-process.ts'

/** From the incident to its conversation and back, and everything that an operator does there. */
export async function takePart(
  page: Page,
  platform: PlatformProcess,
  { incident, device }: { incident: string; device: string },
): Promise<void> {
  await page.goto(`${platform.api}/incidents/${incident}`)
  await page.getByRole('link', { name: 'Conversation', exact: true }).click()
  await page.locator('[data-watch=live]').waitFor()
  await page.locator('[data-digest="1"] [data-label]').getByText('Written by rules and statistics, no language model').waitFor()
  await page.locator('[data-message="1"] [data-author=local]').waitFor()
  await page.locator('[data-gaps]').getByText('What could not be checked').waitFor()

  await page.getByText(/^Figures and what says so/).click()
  await page.locator('[data-claim] [data-evidence-id]').first().click()
  await page.locator('[data-evidence-open] [data-readings] li').first().waitFor()
  await page.locator('[data-evidence-open]').getByRole('link', { name: device }).first().waitFor()

  await readsWhatIsSeen(page, platform, incident)
  await page.getByLabel('What to say').fill('Why did it happen?')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.locator('[data-kind=question] [data-author=human]').waitFor()
  await page.locator('[data-kind=answer]').getByText('Possible causes').waitFor()
  await readToTheEnd(page, platform, incident)

  const rating = page.getByRole('form', { name: 'Rating' })
  await rating.getByText('4 of 5').click({ force: true })
  await rating.getByLabel('Note').fill('close')
  await rating.getByRole('button', { name: 'Rate' }).click()
  await rating.getByText(/Rated 4 of 5, right, by admin/).waitFor()
  await page.getByRole('button', { name: 'Recheck evidence' }).click()

  await page.getByRole('link', { name: 'Its incident' }).click()
  await page.locator(`a[data-conversation="${incident}"]`).waitFor()
  await page.getByRole('link', { name: 'Conversations', exact: true }).click()
  await page.locator(`tr[data-conversation="${incident}"]`).waitFor()
  await page.getByLabel('Device', { exact: true }).fill('nobody')
  await page.getByText('No conversation matches.').waitFor()
  await page.getByLabel('Device', { exact: true }).fill(device)
  await page.locator(`tr[data-conversation="${incident}"]`).waitFor()
  await page.getByLabel('State').selectOption('open')
  await page.getByText('No conversation matches.').waitFor()
}

/** Joins in a window that nobody sees: nothing is told as read until somebody does. */
async function readsWhatIsSeen(page: Page, platform: PlatformProcess, id: string): Promise<void> {
  let receipts = 0
  page.on('request', (request) => {
    if (request.url().endsWith(`/conversations/${id}/receipts`)) receipts++
  })
  await page.evaluate(`Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' })`)
  await page.getByRole('button', { name: 'Join' }).click()
  await page.locator('[data-participant="user:admin"]').getByText('here').waitFor()
  assert.equal(receipts, 0, 'who looks elsewhere has not read it')
  await page.evaluate(`delete document.visibilityState, document.dispatchEvent(new Event('visibilitychange'))`)
  await readToTheEnd(page, platform, id)
}

/** Waits until the platform knows that the person read everything, and the page says so. */
async function readToTheEnd(page: Page, platform: PlatformProcess, id: string): Promise<void> {
  let newest = 0
  await until('everything is read', async () => {
    const { participants, messageCount } = await platform.get<Conversation>(`/conversations/${id}`)
    newest = messageCount
    return messageCount > 0 && participants.find((each) => each.id === 'user:admin')?.readSeq === messageCount
  })
  await page.locator('[data-participant="user:admin"]').getByText(`read to ${newest}`).waitFor()
}

const HOSTILE = [
  '<script>window.ran=1</script>',
  '<img src=x onerror="window.ran=1">',
  '"><svg onload=window.ran=1>',
  'javascript:window.ran=1',
  '{@html "<b>"}',
  '[E1](javascript:window.ran=1)',
]
/** Turns what follows around, hides itself, and would colour a terminal. */
const HIDDEN = '\u202egnitset\u200b\u0007\u001b[31mred\u001b[0m\u2066'

/** What people and devices may write is shown as text on the pages of conversations: titles, words, names; `texts` were sent by a device. */
export async function showHostile(page: Page, platform: PlatformProcess, texts: readonly string[]): Promise<void> {
  const words = HOSTILE.join(' ') + HIDDEN
  const { body } = await platform.post<Conversation>('/conversations', {
    title: HOSTILE.slice(0, 3).join(' ') + HIDDEN,
    agents: ['triage'],
    message: words,
  })
  await page.goto(`${platform.api}/conversations?search=svg`)
  const row = page.locator(`tr[data-conversation="${body.id}"]`)
  await row.getByText('<script>window.ran=1</script>').waitFor()
  assert.equal(await page.locator('main :is(script, img, iframe)').count(), 0)
  await row.getByRole('link').click()
  await page.locator('[data-watch=live]').waitFor()
  const shown = (await page.locator('[data-message="1"]').innerText()) + (await page.locator('h1').innerText())
  for (const text of HOSTILE) assert.ok(shown.includes(text), `${text} is shown as it is`)
  assert.doesNotMatch(shown, /[\u202a-\u202e\u2066-\u2069\u200b\u0007\u001b]/, 'nothing that is not seen is left')
  assert.equal(await page.locator('main :is(script, img, iframe), main svg[onload], main b').count(), 0)

  // What a device calls its metrics, in the evidence of the conversation about it.
  await page.goto(`${platform.api}/conversations?device=pump-1`)
  const quality = page.getByRole('region', { name: 'Begun by agents themselves' })
  await quality.getByText('nobody has said yet').first().waitFor()
  assert.match(await quality.innerText(), /Satisfaction\s+nobody has said yet/, 'not claimed before people said')
  await page.locator('tr[data-conversation] a').first().click()
  await page.locator('[data-digest]').waitFor()
  await page.getByText(/^Figures and what says so/).click()
  await openEvidenceThatNames(page, platform, texts[0] ?? '')
  assert.equal(await page.locator('main :is(script, img, iframe)').count(), 0)
  assert.equal(await page.evaluate('window.ran'), undefined, 'no script ran')
  assert.notEqual(await page.title(), '1')
}

/** Of the evidence that figures rest on: the first that has this text. */
async function openEvidenceThatNames(page: Page, platform: PlatformProcess, text: string): Promise<void> {
  const chips = page.locator('[data-claim] [data-evidence-id]')
  const ids = await chips.evaluateAll((all) => all.map((chip) => chip.getAttribute('data-evidence-id')))
  const inJson = JSON.stringify(text).slice(1, -1)
  for (const id of new Set(ids)) {
    if (!JSON.stringify(await platform.get(`/evidence/${id}`)).includes(inJson)) continue
    await page.locator(`[data-claim] [data-evidence-id="${id}"]`).first().click()
    await page.locator(`[data-evidence-open="${id}"]`).getByText(text).first().waitFor()
    return
  }
  assert.fail(`no evidence of ${ids.length} figures names ${text}`)
}
