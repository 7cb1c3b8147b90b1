import assert from 'node:assert/strict'
import type { Page } from 'playwright-core'
import { WEBHOOK_EVENTS } from '../../alerts/webhooks/webhook-documents.ts'
import type { RuleView } from '../../processing/rules/rules-service.ts'
import type { PlatformProcess } from './platform-process.ts'

/** What operators set up for alerting, on the page: rules, maintenance, routing, and how an endpoint is told. */

/** A rule is tried on what is stored, added, changed and removed. `device` sent `pressure` above 10 once or more. */
export async function setRules(page: Page, platform: PlatformProcess, device: string): Promise<void> {
  await page.goto(`${platform.api}/rules`)
  await page.getByText('No rules.').waitFor()
  await page.getByRole('button', { name: 'New rule' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Name').fill('pressure too high')
  await dialog.getByLabel('Devices whose labels say').fill('device is what')
  await dialog.getByLabel('Metric').fill('pressure')
  await dialog.getByLabel('Limit').fill('10')
  await dialog.getByRole('button', { name: 'Add' }).click()
  await dialog.getByText('Line 1 “device is what” is no condition').waitFor()
  await dialog.getByLabel('Devices whose labels say').fill(`device = ${device}`)
  await dialog.getByRole('button', { name: 'Try it' }).click()
  await dialog.locator('[data-preview="1"]').getByText('1 times on 1 of 1 devices').waitFor()
  await dialog.getByLabel('Over at').fill('11')
  await dialog.getByRole('button', { name: 'Add' }).click()
  await dialog.getByText('11 is above raise (10)').waitFor()
  await dialog.getByLabel('Over at').fill('8')
  await dialog.getByRole('button', { name: 'Add' }).click()
  await page.locator('[data-rule]').getByText('pressure is above 10').waitFor()
  await page.locator('[data-rule]').getByRole('button', { name: 'Change' }).click()
  await dialog.getByLabel('Judged').selectOption('windows')
  await dialog.getByRole('combobox', { name: 'Figure' }).selectOption('p95')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await page.locator('[data-rule]').getByText('p95 of pressure in 1 min is above 10').waitFor()
  const { items } = await platform.get<{ items: RuleView[] }>('/rules')
  assert.deepEqual(
    items.map(({ ruleVersion, clear, on, matchers }) => [ruleVersion, clear, on.kind, matchers]),
    [[2, 8, 'windows', [{ label: 'device', is: device }]]],
  )
}

/** A threshold of its own for one metric, added and removed. */
export async function setThreshold(page: Page, platform: PlatformProcess): Promise<void> {
  const card = page.getByRole('region', { name: 'Thresholds' })
  const dialog = page.getByRole('dialog')
  await card.getByRole('button', { name: 'New threshold' }).click()
  await dialog.getByLabel('Metric').fill('pressure')
  await dialog.getByLabel('Raised from').fill('2')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await dialog.getByRole('alert').waitFor()
  await dialog.getByLabel('Raised from').fill('0.9')
  await dialog.getByLabel('Impact').selectOption('high')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await card.locator('[data-policy="0"]').getByText('pressure').waitFor()
  const put = await platform.get<{ policies: object[]; version: number }>('/detectors/policies')
  assert.deepEqual([put.policies, put.version], [[{ type: '*', metric: 'pressure', device: '*', alertThreshold: 0.9, impact: 'high' }], 1])
  await card.locator('[data-policy]').getByRole('button', { name: 'Change' }).click()
  await dialog.getByLabel('Remove it').check()
  await dialog.getByRole('button', { name: 'Remove' }).click()
  await card.locator('[data-policy]').waitFor({ state: 'detached' })
}

export async function removeRule(page: Page, platform: PlatformProcess): Promise<void> {
  await page.goto(`${platform.api}/rules`)
  await page.locator('[data-rule]').getByRole('button', { name: 'Remove' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
  await page.getByText('No rules.').waitFor()
}

/** Maintenance begins and ends, once and every week. */
export async function setMaintenance(page: Page, platform: PlatformProcess): Promise<void> {
  await page.goto(`${platform.api}/maintenance`)
  for (const recurs of ['once', 'weekly'] as const) {
    await page.getByRole('button', { name: 'Begin maintenance' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Name', { exact: true }).fill('pump works')
    await dialog.getByLabel('When').selectOption(recurs)
    if (recurs === 'weekly') {
      await dialog.getByLabel('Sunday').check()
      await dialog.getByLabel('At', { exact: true }).fill('03:30')
      await dialog.getByLabel('Time zone').fill('Europe/Atlantis')
      await dialog.getByRole('button', { name: 'Add' }).click()
      await dialog.getByText('"Europe/Atlantis" is no time zone').waitFor()
      await dialog.getByLabel('Time zone').fill('Europe/Berlin')
    }
    await dialog.getByRole('button', { name: recurs === 'once' ? 'Begin' : 'Add', exact: true }).click()
    const row = page.locator('[data-window]')
    await row.getByText(recurs === 'once' ? 'active' : 'sun at 03:30, Europe/Berlin').waitFor()
    await row.getByRole('button', { name: 'End' }).click()
    await dialog.getByRole('button', { name: 'End' }).click()
    await page.getByText('No maintenance windows.').waitFor()
  }
}

/** The routing is tried and kept as text; one that cannot be is refused with its path and reason. */
export async function setRouting(page: Page, platform: PlatformProcess, routing: object): Promise<void> {
  await page.goto(`${platform.api}/routing`)
  await page.getByRole('button', { name: 'Change' }).click()
  const tree = page.getByLabel('as JSON')
  const faults = page.locator('[data-faults]')
  await tree.fill('{')
  await page.getByRole('button', { name: 'Save' }).click()
  await faults.getByText('This is no JSON').waitFor()
  await tree.fill(JSON.stringify({ ...routing, route: { receiver: 'nobody', routes: [{ receiver: 'x', matchers: [] }] } }))
  await page.getByRole('button', { name: 'Save' }).click()
  await faults.getByText('route.receiver: there is no receiver "nobody"').waitFor()
  await faults.getByText('route.routes.0.receiver: there is no receiver "x"').waitFor()
  await tree.fill(JSON.stringify(routing))
  await page.getByLabel('Try it with an incident').fill('severity = critical')
  await page.getByRole('button', { name: 'Try it' }).click()
  await page.getByText('Would be told: on call (by route.routes.0)').waitFor()
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('heading', { name: 'Receivers', exact: true }).waitFor()
}

/** An endpoint of a kind of its own is added, and given a text of its own. */
export async function setWebhook(page: Page, platform: PlatformProcess): Promise<void> {
  await page.goto(`${platform.api}/webhooks`)
  await page.getByRole('button', { name: 'Add a webhook' }).click()
  await page.getByLabel('Address').fill('https://hooks.example.org/slack')
  await page.getByRole('combobox', { name: 'Kind' }).selectOption('slack')
  const offered = page.getByRole('dialog').getByRole('checkbox')
  const values = await offered.evaluateAll((boxes) => boxes.flatMap((box) => box.getAttribute('value') ?? []))
  assert.deepEqual(
    values.filter((each) => each.includes('.')),
    [...WEBHOOK_EVENTS],
    'the page offers what endpoints can be told of',
  )
  await page.getByRole('group', { name: 'Incidents' }).getByLabel('Opened', { exact: true }).check()
  await page.getByRole('dialog').getByRole('button', { name: 'Add' }).click()
  await page.getByRole('link', { name: 'https://hooks.example.org/slack' }).click()
  await page.getByRole('button', { name: 'Change' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Text that people read').fill('{{ labels.site | loud }}')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await dialog.getByText('names the filter loud').waitFor()
  await dialog.getByLabel('Text that people read').fill('{{ labels.site | upper }}')
  await dialog.getByRole('group', { name: 'Each alert by itself' }).getByLabel('Opened', { exact: true }).uncheck()
  await dialog.getByRole('button', { name: 'Save' }).click()
  await dialog.waitFor({ state: 'hidden' })
  const { items } = await platform.get<{ items: { kind: string; template: string | null; events: string[] }[] }>('/webhooks')
  assert.ok(items.some(({ kind, template }) => kind === 'slack' && template === '{{ labels.site | upper }}'))
  assert.ok(items.some(({ kind, events }) => kind === 'slack' && events.includes('incident.opened') && !events.includes('alert.opened')))
}
