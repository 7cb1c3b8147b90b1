import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import mqtt from 'mqtt'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import type { Alert } from '../contracts/alert.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { systemClock } from '../kernel/time.ts'
import { newDeviceRequest } from '../provisioning/doors/device-bundle.ts'
import { violationsOn } from './testing/accessible.ts'
import { removeRule, setMaintenance, setRouting, setRules, setThreshold, setWebhook } from './testing/alerting-pages.ts'
import { showHostile, takePart } from './testing/conversation-pages.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * The page as an operator uses it, in a real browser, against the process users start: log in, watch a device go wrong, look at why,
 * acknowledge it, and see that everywhere at once.
 */

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const isThere = existsSync(CHROMIUM)
if (!isThere && process.env.FLEETPULSE_REQUIRE_TOOLS !== '1')
  console.warn(`SKIPPED: the page was not tested, there is no browser at ${CHROMIUM} (set CHROMIUM)`)
const skip = isThere || process.env.FLEETPULSE_REQUIRE_TOOLS === '1' ? false : `there is no browser at ${CHROMIUM}`

const DEVICE = 'pump-1'
const NORMAL_READINGS = 400
const FAULTY_READINGS = 6
/** A metric's name is the device's to choose: it must never become markup. */
const HOSTILE = '<img src=x onerror="document.title=1">'
const LINE_PIXELS_MIN = 50
const WIDE = { width: 1_440, height: 900 }
const NARROW = { width: 360, height: 740 }

// A setting that the security check has something to say about.
const platform = new PlatformProcess({ FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'true' })
let browser: Browser
let context: BrowserContext
let page: Page
/** What no run may have: requests to elsewhere, errors on the console, exceptions. */
const faults: string[] = []

before(
  async () => {
    if (skip !== false) return
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    })
    await platform.start()
    context = await browser.newContext({ viewport: WIDE })
    context.on('request', (request) => {
      const { origin, protocol } = new URL(request.url())
      if (origin !== platform.api && protocol !== 'data:') faults.push(`request to ${request.url()}`)
    })
    context.on('console', (message) => {
      if (message.type() === 'error') faults.push(`console: ${message.text()}`)
    })
    context.on('weberror', (error) => faults.push(`exception: ${error.error().stack ?? error.error().message}`))
    page = await context.newPage()
  },
  { timeout: 300_000 },
)
after(async () => {
  await browser?.close()
  await platform.remove()
})

test('the page shows a device going wrong, says why, and follows what is done about it', { skip, timeout: 600_000 }, async (t) => {
  const { key, cert, ca } = await platform.provision(DEVICE)
  const client = await mqtt.connectAsync(`mqtts://localhost:${platform.ready?.mqtts}`, {
    clientId: DEVICE,
    key,
    cert,
    ca,
    protocolVersion: 4,
  })
  const readings = series()
  await client.publishAsync(`devices/${DEVICE}/telemetry`, JSON.stringify(readings.normal), { qos: 1 })
  await until(
    'the normal readings',
    async () => (await platform.get<{ stored: number }>('/ledger?summary=true')).stored === NORMAL_READINGS,
  )

  await t.test('logging in', async () => {
    await page.goto(platform.api)
    await page.getByLabel('Admin token').waitFor()
    await check('login')
    await page.getByLabel('Admin token').fill(platform.token)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.locator('[data-live=live]').waitFor()
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    assert.equal(await page.evaluate('document.cookie'), '', 'scripts cannot read the session')
  })

  await t.test('the device is listed, and its page draws what it sent', async () => {
    await page.getByRole('link', { name: 'Devices', exact: true }).click()
    await page.getByRole('link', { name: DEVICE }).click()
    await page.getByRole('heading', { name: DEVICE }).waitFor()
    await page.getByRole('button', { name: /^pressure/ }).click()
    await drawn()
    assert.equal(await page.locator('main img').count(), 0, 'what a device says is shown as text')
    assert.ok(await page.getByText(HOSTILE).first().isVisible())
  })

  await t.test('the anomaly and its alert come in by themselves', async () => {
    await client.publishAsync(`devices/${DEVICE}/telemetry`, JSON.stringify(readings.faulty), { qos: 1 })
    await page.locator('button.mark[data-anomaly]').first().waitFor()
    await page.locator('[data-alert][data-state=open]').waitFor()
    await page.locator('a.flag').first().waitFor()
    await page.locator('button.mark[data-anomaly]').first().click()
    await page.getByRole('heading', { name: 'What made up the score' }).waitFor()
  })

  await t.test('an anomaly is rejected, what that would change is shown, and it is applied and undone', async () => {
    const panel = page.getByRole('region', { name: 'Feedback' }).first()
    await panel.getByLabel('Cause').fill('valve opened')
    await panel.getByRole('button', { name: 'Reject' }).click()
    await panel.getByText('valve opened').waitFor()
    await panel.getByRole('button', { name: 'Preview' }).click()
    await panel.getByText(/of \d+\s+alarms removed/).waitFor()
    await panel.getByRole('button', { name: 'Apply' }).click()
    await panel.getByText(/applied as change \d+/).waitFor()
    await panel.getByRole('button', { name: 'Undo' }).click()
    await panel.getByText(/undone as change \d+/).waitFor()
  })

  await t.test('an acknowledgement is seen elsewhere at once', async () => {
    const other = await context.newPage()
    await other.goto(`${platform.api}/alerts?state=acknowledged`)
    await other.getByText('No acknowledged alerts.').waitFor()
    await other.locator('[data-live=live]').waitFor()
    await page.getByRole('button', { name: 'Acknowledge' }).click()
    await page.locator('[data-alert][data-state=acknowledged]').waitFor()
    await other.locator('[data-alert][data-state=acknowledged]').waitFor()
    await other.close()
  })
  await client.endAsync()

  const { items } = await platform.get<{ items: Alert[] }>(`/alerts?device=${DEVICE}`)
  assert.equal(items[0]?.state, 'acknowledged')
  const webhook = await platform.post<{ endpoint: { id: string } }>('/webhooks', { url: 'https://hooks.example.org/alerts' })
  const screens = [
    '/',
    '/devices',
    `/devices/${DEVICE}?metric=pressure`,
    '/alerts?state=all',
    `/alerts/${items[0]?.id}`,
    '/incidents?state=all',
    `/incidents/${items[0]?.incident?.id}`,
    '/conversations',
    `/conversations/${items[0]?.incident?.id}`,
    '/proposals',
    '/rules',
    '/maintenance',
    '/routing',
    '/models',
    '/ledger',
    '/rejected',
    '/webhooks',
    '/provisioning',
    '/security',
    '/trust',
    '/api-keys',
    '/audit',
    `/webhooks/${webhook.body.endpoint.id}`,
    '/nowhere',
  ]
  await t.test(
    'an alert is commented on, snoozed and assigned; its incident is there; maintenance begins and ends, once and weekly',
    async () => {
      await page.goto(`${platform.api}/alerts/${items[0]?.id}`)
      const steps = [
        ['Comment', 'bearing ordered'],
        ['Assign', 'over to ben'],
        ['Snooze', 'until the part is here'],
      ] as const
      for (const [step, note] of steps) {
        await page.getByRole('button', { name: step, exact: true }).click()
        if (step === 'Assign') await page.getByLabel('Name (empty: nobody)').fill('ben')
        await page.getByRole('dialog').getByRole('textbox').last().fill(note)
        await page.getByRole('dialog').getByRole('button', { name: step, exact: true }).click()
        await page.getByText(note).waitFor()
      }
      await page.getByText('snoozed, open again').waitFor()
      await page.getByRole('link', { name: 'device', exact: true }).click()
      await page.getByRole('heading', { name: /^unusual values at/ }).waitFor()
      await page.locator(`[data-alert="${items[0]?.id}"]`).waitFor()
      await setMaintenance(page, platform)
    },
  )
  await t.test('the conversation about it is found, shows what its digest rests on, answers, is rated, checked again and ended', () =>
    takePart(page, platform, { incident: items[0]?.incident?.id ?? '', device: DEVICE }),
  )
  await t.test('hostile names, titles and words are text there, and nothing in them runs', () => showHostile(page, platform, [HOSTILE]))
  const routing = {
    receivers: [
      { name: 'everyone', endpoints: [webhook.body.endpoint.id] },
      { name: 'on call', schedule: 'week' },
    ],
    schedules: [
      { name: 'week', timeZone: 'Europe/Berlin', startsOn: '2025-03-24', changesAt: '09:00', everyDays: 7, members: ['everyone'] },
    ],
    route: {
      receiver: 'everyone',
      routes: [
        { matchers: [{ label: 'severity', is: 'critical' }], receiver: 'on call', continue: true },
        {
          matchers: [{ label: 'site', like: 'north*' }],
          routes: [{ matchers: [{ label: 'escalation', isNot: '0' }], receiver: 'on call' }],
        },
      ],
    },
  }
  await t.test('rules, the routing and how an endpoint is told are set on the page, and refused with the reason', async () => {
    await setRules(page, platform, DEVICE)
    await setThreshold(page, platform)
    await setRouting(page, platform, routing)
    await setWebhook(page, platform)
  })
  assert.deepEqual((await platform.get<{ routing: unknown }>('/routing')).routing, withOverrides(routing), 'the whole tree comes back')
  await t.test('every screen is accessible, and fits a narrow window, in light and dark', async () => {
    for (const path of screens) {
      await page.setViewportSize(WIDE)
      await page.emulateMedia({ colorScheme: 'light' })
      await page.goto(platform.api + path)
      await page.locator('main h1').waitFor()
      await page.locator('[data-live=live]').waitFor()
      if (path.startsWith(`/devices/${DEVICE}`)) await drawn()
      await check(`${path} light`)
      if (process.env.SCREENSHOTS !== undefined)
        await page.screenshot({ path: `${process.env.SCREENSHOTS}/${path.replaceAll(/[^a-z]+/g, '-')}.png`, fullPage: true })
      await page.emulateMedia({ colorScheme: 'dark' })
      await page.setViewportSize(NARROW)
      await check(`${path} dark, narrow`)
      assert.ok(
        (await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')) <= 0,
        `${path} scrolls sideways at ${NARROW.width} px`,
      )
    }
  })
  await t.test('a rule is removed', () => removeRule(page, platform))

  await t.test('a file is checked, imported and imported again; a device gets a token, and a certificate for its request', async () => {
    await page.setViewportSize(WIDE)
    await page.goto(`${platform.api}/provisioning`)
    await page.locator('[data-bucket="90d"]').waitFor()
    const file = {
      name: 'fleet.csv',
      mimeType: 'text/csv',
      buffer: Buffer.from('id,type,site\npage-1,generic,north\npage-2,,south\n-bad,,x\n'),
    }
    await page.getByLabel('CSV file').setInputFiles(file)
    await page.getByRole('button', { name: 'Check' }).click()
    await page.locator('[data-import=checked]').getByText('2 created, 0 changed, 0 unchanged, 1 failed').waitFor()
    await page.getByText('is not a device id').waitFor()
    assert.equal((await page.request.get(`${platform.api}/api/v1/devices/page-1`)).status(), 404, 'checking changes nothing')
    await page.getByLabel('make enrolment tokens').check()
    await page.getByRole('button', { name: 'Import', exact: true }).click()
    await page.locator('[data-import=done]').getByText('2 created').waitFor()
    await page.getByRole('button', { name: 'Save 2 tokens' }).waitFor()
    await check('an import')
    await page.getByRole('button', { name: 'Check' }).click()
    await page.getByText('0 created, 0 changed, 2 unchanged, 1 failed').waitFor()

    await page.getByRole('button', { name: 'Register a device' }).click()
    await page.getByLabel('Id', { exact: true }).fill('page-3')
    await page.getByLabel('Labels').fill('site=east')
    await page.getByRole('button', { name: 'Register', exact: true }).click()
    assert.match((await page.locator('[data-token]').textContent()) ?? '', /^[\w-]{43}$/)
    await page.getByRole('link', { name: 'page-3' }).click()
    await page.getByRole('button', { name: 'From a request' }).click()
    await page.getByLabel('Request, PEM').fill('nonsense')
    await page.getByRole('button', { name: 'Issue' }).click()
    await page.getByRole('alert').getByText('csr:').waitFor()
    await page.getByLabel('Request, PEM').fill((await newDeviceRequest('page-3')).csrPem)
    await page.getByRole('button', { name: 'Issue' }).click()
    const serial = (await page.locator('[data-issued]').textContent()) ?? ''
    await page.locator('td .serial', { hasText: serial }).waitFor()
    await page.getByRole('button', { name: 'Enrolment token' }).click()
    await page.getByRole('button', { name: 'Make it' }).click()
    await page.locator('[data-token]').waitFor()
    await check('a device with a token')
    // What was refused is told in the browser's console as well.
    faults.splice(0, faults.length, ...faults.filter((fault) => !/status of 40[04]/.test(fault)))
  })

  await t.test('the security check finds something, it is suppressed, and the audit trail says who did', async () => {
    await page.goto(`${platform.api}/security`)
    await page.getByRole('button', { name: 'Check now' }).click()
    await page.locator('[data-finding=policy-permissive]').waitFor()
    await page.locator('[data-score="85"]').waitFor()
    await page.locator('[data-finding] summary').first().click()
    await check('a finding')
    await page.locator('[data-finding] button').first().click()
    await page.getByLabel('Why').fill('receiver in the same cabinet')
    await page.getByRole('dialog').getByRole('button', { name: 'Suppress' }).click()
    await page.getByText('Nothing was found.').waitFor()
    await page.locator('[data-score="100"]').waitFor()
    await page.getByRole('button', { name: 'Suppressed', exact: true }).click()
    await page.getByRole('button', { name: 'Restore' }).waitFor()

    await page.getByRole('link', { name: 'Audit', exact: true }).click()
    await page.locator('[data-entry="finding.suppress"]').waitFor()
    await page.getByText('receiver in the same cabinet', { exact: true }).waitFor()
    await page.getByLabel('What').fill('session.open')
    await page.locator('[data-entry="session.open"]').first().waitFor()
    await page.locator('[data-entry="finding.suppress"]').waitFor({ state: 'detached' })
    await page.locator('[data-entry="session.open"] summary').first().click()
    await page.getByText('user:admin from 127.0.0.1').first().waitFor()
    await check('the audit trail')
    const [exported] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Export' }).click()])
    assert.equal(exported.suggestedFilename(), 'audit.jsonl')
  })

  await t.test('CAs, claims and factory CAs are listed; a claim is revoked', async () => {
    await platform.cli(
      'provision',
      'claim',
      'line-1',
      '--devices',
      'line-*',
      '--devices-max',
      '3',
      '--out',
      join(platform.folder, 'line-1'),
    )
    await page.goto(`${platform.api}/trust`)
    await page.locator('[data-authority=root]').waitFor()
    await page.locator('[data-authority=issuing]').getByText('issuing', { exact: true }).first().waitFor()
    await page.locator('[data-claim=line-1]').getByText('0 of 3').waitFor()
    await check('trust')
    await page.getByRole('button', { name: 'Revoke line-1' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
    await page.locator('[data-claim=line-1]').getByText('revoked').waitFor()
    await page.getByRole('button', { name: 'New issuing CA' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Make it' }).click()
    await page.locator('[data-authority=issuing-2]').waitFor()
  })

  await t.test('a device is decommissioned, step by step, and its receipt is there', async () => {
    assert.equal((await platform.post('/devices', { id: 'old-1', type: 'generic', labels: {} })).status, 201)
    await page.goto(`${platform.api}/devices/old-1`)
    await page.getByRole('button', { name: 'Decommission' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Why').fill('scrapped')
    await dialog.getByLabel('Type old-1').fill('old-2')
    await dialog.getByRole('button', { name: 'Decommission' }).click()
    await dialog.getByRole('alert').waitFor()
    await dialog.getByLabel('Type old-1').fill('old-1')
    await dialog.getByRole('button', { name: 'Decommission' }).click()
    await page.locator('[data-leaving=done]').waitFor()
    await page.locator('[data-step=tombstone]').waitFor()
    await page.getByText(/Asked for by user:admin .*: scrapped/).waitFor()
    await check('a device that left')
    const [receipt] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Receipt' }).click()])
    const { jws } = JSON.parse(readFileSync(await receipt.path(), 'utf8')) as { jws: string }
    assert.equal(jws.split('.').length, 3)
    await page.getByRole('button', { name: 'Decommission' }).waitFor({ state: 'detached' })
  })

  await t.test('logging out ends the session', async () => {
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('Admin token').waitFor()
    assert.equal((await context.request.get(`${platform.api}/api/v1/session`)).status(), 401)
  })
  assert.deepEqual(faults, [])
})

/** A calm pressure up to now, then one three times as high; the same whenever it runs. */
function series(): { normal: object[]; faulty: object[] } {
  const random = seededRandom('page')
  const startTs = systemClock.nowMs() - (NORMAL_READINGS + FAULTY_READINGS) * 500
  const reading = (seq: number, pressure: number): object => ({
    ts: startTs + seq * 500,
    boot: 'b1',
    seq,
    values: { pressure, temperature: 20 + gaussian(random), [HOSTILE]: HOSTILE },
  })
  const normal = Array.from({ length: NORMAL_READINGS }, (_, seq) => reading(seq, 6 + 0.05 * gaussian(random)))
  const faulty = Array.from({ length: FAULTY_READINGS }, (_, i) => reading(NORMAL_READINGS + i, 18 + 0.05 * gaussian(random)))
  return { normal, faulty }
}

/** Waits until the chart's canvas holds a line: pixels of its colour. */
async function drawn(): Promise<void> {
  await page.locator('.uplot canvas').first().waitFor()
  const count = `(() => {
    const canvas = document.querySelector('.uplot canvas')
    if (canvas === null || canvas.width === 0) return 0
    const probe = document.createElement('canvas').getContext('2d')
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--chart-line')
    probe.fillRect(0, 0, 1, 1)
    const [r, g, b] = probe.getImageData(0, 0, 1, 1).data
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    let found = 0
    for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) found++
    return found
  })()`
  await until('a line on the chart', async () => (await page.evaluate<number>(count)) > LINE_PIXELS_MIN)
}

/** What the API fills in. */
function withOverrides<T extends { schedules: object[] }>(routing: T): T {
  return { ...routing, schedules: routing.schedules.map((schedule) => ({ ...schedule, overrides: [] })) }
}

/** No serious or critical violation of the rules that axe knows (WCAG 2.2 A and AA, best practices). */
async function check(screen: string): Promise<void> {
  const violations = await violationsOn(page)
  const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  const told = grave.map(
    ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')} ${node.failureSummary ?? ''}`).join('; ')}`,
  )
  assert.deepEqual(told, [], screen)
}
