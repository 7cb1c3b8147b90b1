import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { InvalidInputError } from '../../kernel/errors.ts'
import { operator, T0, until } from '../alerts-testing.ts'
import type { EndpointSettings } from '../webhooks/webhook-service.ts'
import { change, deliveryIn, selfSigned, webhooksOptions, WebhookWorld, type Receiver } from '../webhooks/webhooks-testing.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'
import { alertmanagerBody } from './alertmanager-body.ts'
import { noticeOfAlert, plainText } from './notice.ts'
import { parseTemplate, renderTemplate } from './template.ts'

let world: WebhookWorld
beforeEach(async () => {
  world = await WebhookWorld.open()
})
afterEach(() => world.close())

async function made(
  settings: Partial<EndpointSettings>,
  changes: Parameters<typeof webhooksOptions>[1] = {},
): Promise<{ webhooks: Webhooks; receiver: Receiver; id: string }> {
  const webhooks = await world.start(webhooksOptions(world.engines, changes))
  const receiver = await world.receive()
  const { endpoint } = await webhooks.service.create(operator, { url: receiver.url, ...settings })
  return { webhooks, receiver, id: endpoint.id }
}
const parsed = (receiver: Receiver, i = 0): Record<string, unknown> =>
  JSON.parse(receiver.received[i]?.body ?? '') as Record<string, unknown>

describe('notifiers', () => {
  it('speak CloudEvents 1.0', async () => {
    const { receiver } = await made({ kind: 'cloudevents' })
    const opened = change()
    await world.happen(opened)
    await until('it came', () => receiver.received.length === 1)
    const event = parsed(receiver)
    assert.equal(receiver.received[0]?.headers['content-type'], 'application/cloudevents+json')
    assert.deepEqual(
      [event.specversion, event.id, event.source, event.type, event.subject, event.time, event.datacontenttype],
      [
        '1.0',
        opened.id,
        '/fleetpulse/default',
        'io.fleetpulse.alert.opened',
        opened.alert.id,
        new Date(T0).toISOString(),
        'application/json',
      ],
    )
    for (const name of Object.keys(event)) assert.match(name, /^[a-z0-9]{1,20}$/, 'CloudEvents §3.1: names of attributes')
  })

  it('speak to Slack, with nothing in a title that it would read as markup', async () => {
    const { receiver } = await made({ kind: 'slack' })
    await world.happen(change({}, { title: '<!channel> & co' }))
    await until('it came', () => receiver.received.length === 1)
    const { text, attachments } = parsed(receiver) as { text: string; attachments: { color: string; ts: number }[] }
    assert.equal(text, '[warning] &lt;!channel&gt; &amp; co — opened: too warm')
    assert.equal(attachments[0]?.ts, T0 / 1_000)
  })

  it('speak to Alertmanager: the same labels open and end an alert, and another severity ends the one before', async () => {
    const { receiver } = await made({ kind: 'alertmanager' })
    const alert = { id: '01alert', labels: { 'site.name': 'north' } }
    const worse = [{ at: T0, by: 'device:pump-1', action: 'severity-changed' as const }]
    await world.happen(
      change({ id: '01alert-1' }, alert),
      change({ id: '01alert-2', change: 'resumed' }, { ...alert, severity: 'critical', history: worse }),
      change({ id: '01alert-3', change: 'resolved' }, { ...alert, severity: 'critical', state: 'resolved', resolvedAt: T0 + 5_000 }),
    )
    await until('they came', () => receiver.received.length === 3)
    assert.equal(receiver.received[0]?.path, '/hook/api/v2/alerts')
    interface Posted {
      labels: Record<string, string>
      startsAt: string
      endsAt: string
    }
    const bodies = receiver.received
      .map(({ body }) => JSON.parse(body) as Posted[])
      .toSorted((a, b) => a.length - b.length || Date.parse(b[0]?.endsAt ?? '') - Date.parse(a[0]?.endsAt ?? ''))
    const [opened, over, changed] = bodies as [Posted[], Posted[], Posted[]]
    assert.deepEqual(opened[0]?.labels, {
      ...{ alertname: 'fleetpulse_value', fleetpulse_id: '01alert', severity: 'warning', tenant: 'default', site_name: 'north' },
      ...{ device: 'pump-1', type: 'pump', metric: 'temperature', cause: 'value' },
    })
    assert.deepEqual(
      changed.map(({ labels, endsAt }) => [labels.severity, Date.parse(endsAt) > T0 + 1_000]),
      [
        ['critical', true],
        ['warning', false],
      ],
    )
    assert.deepEqual(over[0]?.labels, changed[0]?.labels)
    assert.equal(over[0]?.endsAt, new Date(T0 + 5_000).toISOString())
  })

  it('give Alertmanager no end before the beginning, and none for weeks of an alert that goes on', () => {
    const ended = noticeOfAlert(change({ change: 'resolved' }, { state: 'resolved', resolvedAt: T0 - 5_000 }))
    const goesOn = noticeOfAlert(change())
    const [over, open] = [ended, goesOn].map(
      (notice) => (JSON.parse(alertmanagerBody(notice, 'x')) as { startsAt: string; endsAt: string }[])[0],
    )
    assert.equal(over?.endsAt, over?.startsAt)
    assert.ok(Date.parse(open?.endsAt ?? '') > T0 + 60 * 86_400_000)
  })

  it('send e-mail over SMTP, and try again when the server cannot take it', async () => {
    const mails: { to: string[]; raw: string }[] = []
    let refusals = 1
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onData: (stream, session, done) => {
        const pieces: Buffer[] = []
        stream.on('data', (piece: Buffer) => pieces.push(piece))
        stream.on('end', () => {
          if (refusals-- > 0) return done(Object.assign(new Error('mailbox busy'), { responseCode: 451 }))
          mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), raw: Buffer.concat(pieces).toString() })
          done()
        })
      },
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const smtp = {
      smtpHost: '127.0.0.1',
      smtpPort: (server.server.address() as AddressInfo).port,
      smtpSecurity: 'none' as const,
      smtpFrom: 'fleet@example.com',
    }
    const { webhooks, id } = await made({ kind: 'email', url: 'mailto:ops@example.com' }, { ...smtp, retryInitialMs: 100, retryJitter: 0 })
    await world.happen(change({}, { title: 'temperature of pump-1\r\nBcc: all@example.com' }))
    const delivered = await deliveryIn(webhooks, id, 'delivered')
    assert.deepEqual(
      delivered.attempts.map(({ status }) => status),
      [250, 451],
    )
    assert.deepEqual(mails[0]?.to, ['ops@example.com'])
    assert.doesNotMatch((JSON.parse(delivered.body) as { subject: string }).subject, /[\r\n]/)
    assert.match(mails[0]?.raw ?? '', new RegExp(`Message-ID: <${delivered.id}@example.com>`, 'i'))
    assert.match(mails[0]?.raw ?? '', /^From: fleet@example\.com/m)
    assert.doesNotMatch((mails[0]?.raw ?? '').split('\r\n\r\n')[0] ?? '', /^Bcc/im, 'a title ends no header')
    await new Promise<void>((resolve) => server.close(resolve))
  })

  it('send nothing in the clear to a mail server that was to encrypt and does not, or whose certificate nobody vouches for', async () => {
    let mails = 0
    const onData: NonNullable<SMTPServerOptions['onData']> = (stream, _session, done) => {
      mails++
      stream.resume().on('end', () => done())
    }
    const servers = [
      new SMTPServer({ authOptional: true, disabledCommands: ['STARTTLS'], onData }),
      new SMTPServer({ authOptional: true, onData, ...(await selfSigned()) }),
    ]
    for (const [i, why] of [/STARTTLS/i, /self-signed/].entries()) {
      const server = servers[i] as SMTPServer
      server.on('error', () => undefined)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const smtp = { smtpHost: '127.0.0.1', smtpPort: (server.server.address() as AddressInfo).port }
      const { webhooks, id } = await made({ kind: 'email', url: 'mailto:ops@example.com' }, smtp)
      await webhooks.service.ping(operator, id)
      assert.match((await deliveryIn(webhooks, id, 'dead')).attempts[0]?.error ?? '', why)
      await webhooks.stop()
      await new Promise<void>((resolve) => server.close(resolve))
    }
    assert.equal(mails, 0)
  })

  it('give up a mail server that takes too long in all, and try again', async () => {
    let isStuck = true
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onData: (stream, _session, done) => {
        stream.resume()
        stream.on('end', () => {
          if (!isStuck) done()
          isStuck = false
        })
      },
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port: smtpPort } = server.server.address() as AddressInfo
    const smtp = { smtpHost: '127.0.0.1', smtpPort, smtpSecurity: 'none' as const, smtpFrom: 'fleet@example.com' }
    const times = { totalTimeoutMs: 500, headersTimeoutMs: 500, retryInitialMs: 100, retryJitter: 0 }
    const { webhooks, id } = await made({ kind: 'email', url: 'mailto:ops@example.com' }, { ...smtp, ...times })
    await world.happen()
    const delivered = await deliveryIn(webhooks, id, 'delivered')
    assert.deepEqual(
      delivered.attempts.map(({ status, error }) => [status, /took longer than 500 ms/.test(error ?? '')]),
      [
        [250, false],
        [null, true],
      ],
    )
    await webhooks.stop()
    await new Promise<void>((resolve) => server.close(resolve))
  })

  it('refuse targets that cannot be theirs', async () => {
    const { webhooks } = await made({})
    const create = (settings: Partial<EndpointSettings>) => webhooks.service.create(operator, { url: 'http://127.0.0.1/', ...settings })
    await assert.rejects(create({ kind: 'email', url: 'mailto:a@example.com' }), /smtpHost/)
    await assert.rejects(create({ kind: 'slack', url: 'mailto:a@example.com' }), InvalidInputError)
    await assert.rejects(create({ template: 'x {{ incident.title' }), /character 3 is not closed/)
    await assert.rejects(create({ template: '{{ a | shout }}' }), /there are json, upper, lower, time/)
  })
})

describe('templates', () => {
  it('say what they are told to, or the plain text with the reason in the log', async () => {
    const { receiver, webhooks, id } = await made({
      template: '{{ alert.device | upper }} since {{ alert.startedAt | time }}: {{ labels.severity }}',
    })
    await world.happen()
    await until('it came', () => receiver.received.length === 1)
    assert.equal((parsed(receiver).data as { text: string }).text, `PUMP-1 since ${new Date(T0).toISOString()}: warning`)
    await webhooks.service.update(operator, id, { template: '{{ alert.nothing }}' })
    await world.happen()
    await until('it came too', () => receiver.received.length === 2)
    assert.equal((parsed(receiver, 1).data as { text: string }).text, '[warning] temperature of pump-1 is unusual — opened: too warm')
    const { items } = await webhooks.service.listDeliveries(operator, id)
    assert.deepEqual(
      items.map(({ templateError }) => templateError).toSorted(),
      ['there is no alert.nothing in this notice', null].toSorted(),
    )
  })

  it('grow no further than may be, however often they name a large part', () => {
    let written = 0
    const explanation = { toJSON: () => (written++, 'x'.repeat(200_000)) }
    const notice = noticeOfAlert(change({}, { explanation }))
    assert.equal(renderTemplate('{{ alert.explanation | json }}'.repeat(130), notice).length, 10_000)
    assert.equal(written, 1)
    assert.equal(renderTemplate('a'.repeat(4_000), notice).length, 4_000)
  })

  it('reach nothing but the notice', () => {
    const notice = noticeOfAlert(change())
    for (const path of ['constructor.name', 'alert.__proto__', 'labels.toString', 'alert.title.length']) {
      assert.throws(() => renderTemplate(`{{ ${path} }}`, notice), /there is no/, path)
    }
    assert.deepEqual(parseTemplate('a {{ b.c | json }} d'), ['a ', { path: 'b.c', filter: 'json' }, ' d'])
    assert.match(plainText(notice), /^\[warning\]/)
  })
})
