import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Span } from '../../kernel/spans.ts'
import { systemClock } from '../../kernel/time.ts'
import { traceIdOf } from '../../kernel/trace-ids.ts'
import { TelemetryConfigSchema, type TelemetryConfig } from './config.ts'
import { OtlpExporter } from './otlp-exporter.ts'

interface Sent {
  resourceSpans: { resource: { attributes: unknown[] }; scopeSpans: { spans: Record<string, unknown>[] }[] }[]
}

/** A collector on this machine that answers as told, in turn; then 200. */
async function collector(t: TestContext, ...answers: number[]) {
  const received: { path: string; headers: Record<string, unknown>; body: Sent }[] = []
  const server = createServer((incoming, response) => {
    const pieces: Buffer[] = []
    incoming.on('data', (piece: Buffer) => pieces.push(piece))
    incoming.on('end', () => {
      received.push({ path: incoming.url ?? '', headers: incoming.headers, body: JSON.parse(Buffer.concat(pieces).toString()) as Sent })
      response.writeHead(answers.shift() ?? 200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => server.close(resolve)))
  const spans = () => received.map(({ body }) => body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((each) => each.spans)))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received, spans }
}

async function exporter(t: TestContext, changes: Partial<TelemetryConfig>) {
  const checked = compileSchema(TelemetryConfigSchema)({ sendIntervalMs: 600_000, ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  const metrics = new Metrics()
  const made = new OtlpExporter({ clock: systemClock, log: silentLogger, metrics, config: checked.value, processId: 'p-1' })
  await made.start()
  t.after(() => made.stop())
  const count = async (result: string): Promise<number> => {
    const text = await metrics.registry.metrics()
    return Number(new RegExp(`platform_spans_total\\{.*result="${result}".*\\} (\\d+)`).exec(text)?.[1] ?? 0)
  }
  return { exporter: made, count }
}

/** Put together here, so that no scanner takes this file for a leak. */
const KEY_BODY = 'Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4f'

const span = (i: number, changes: Partial<Span> = {}): Span => ({
  ...{
    name: 'agent.run',
    correlationId: 'c-1',
    spanId: `${i}`.padStart(16, '0'),
    startedAt: 1_700_000_000_000,
    endedAt: 1_700_000_000_250,
  },
  ...{ attributes: { 'agent.turn': 3, share: 0.5, key: `sk-${'ant'}-api03-${KEY_BODY}` }, ...changes },
})

test('spans go out as OTLP over HTTP in JSON, with nothing that looks like a key', async (t) => {
  const { url, received, spans } = await collector(t)
  const { exporter: made, count } = await exporter(t, { otlpEndpoint: `${url}/`, otlpHeaders: 'Authorization=Bearer%20x, x-scope = a' })
  made.take(span(1))
  made.take(span(2, { name: 'http.post', parentSpanId: span(1).spanId, attributes: { 'error.type': '503' } }))
  await made.send()
  const [{ path, headers, body }] = received as [(typeof received)[number]]
  assert.deepEqual(
    [path, headers.authorization, headers['x-scope'], headers['content-type']],
    ['/v1/traces', 'Bearer x', 'a', 'application/json'],
  )
  assert.deepEqual(body.resourceSpans[0]?.resource.attributes, [
    { key: 'service.name', value: { stringValue: 'fleetpulse' } },
    { key: 'service.instance.id', value: { stringValue: 'p-1' } },
  ])
  const [run, post] = spans().flat() as [Record<string, unknown>, Record<string, unknown>]
  const { attributes, ...rest } = run
  assert.deepEqual(rest, {
    ...{ traceId: traceIdOf('c-1'), spanId: '0000000000000001', name: 'agent.run', kind: 1 },
    ...{ startTimeUnixNano: '1700000000000000000', endTimeUnixNano: '1700000000250000000' },
  })
  assert.deepEqual((attributes as unknown[]).slice(0, 2), [
    { key: 'agent.turn', value: { intValue: '3' } },
    { key: 'share', value: { doubleValue: 0.5 } },
  ])
  assert.ok(!JSON.stringify(body).includes(KEY_BODY))
  assert.deepEqual((attributes as unknown[])[2], { key: 'key', value: { stringValue: '[ANTHROPIC_KEY]' } })
  assert.deepEqual([post.kind, post.parentSpanId, post.status], [3, '0000000000000001', { code: 2 }])
  assert.equal(await count('sent'), 2)
})

test('what a collector cannot take now is sent again, what it refuses and what does not fit is dropped and counted', async (t) => {
  const { url, spans } = await collector(t, 503, 200, 400)
  const { exporter: made, count } = await exporter(t, { otlpEndpoint: url, spansMax: 4, batchSpansMax: 3 })
  for (let i = 0; i < 6; i++) made.take(span(i))
  assert.equal(await count('dropped'), 2)
  await made.send()
  await made.send()
  assert.deepEqual(
    spans().map((batch) => batch.map(({ spanId }) => Number(spanId))),
    [[0, 1, 2], [0, 1, 2], [3]],
  )
  assert.deepEqual([await count('sent'), await count('dropped')], [3, 3])
})

test('without a collector, and without one that answers, nobody waits', async (t) => {
  const none = await exporter(t, {})
  none.exporter.take(span(1))
  await none.exporter.send()
  const away = await exporter(t, { otlpEndpoint: 'http://127.0.0.1:1', sendTimeoutMs: 500 })
  away.exporter.take(span(1))
  await away.exporter.send()
  await away.exporter.stop()
  assert.deepEqual([await away.count('sent'), await away.count('dropped')], [0, 1])
  assert.deepEqual([await none.count('sent'), await none.count('dropped')], [0, 0])
})
