import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from './log.ts'
import { tellSpan } from './spans.ts'
import { spanIdOf, traceIdOf, traceparentOf } from './trace-ids.ts'

test('ids of traces and spans are the same wherever they are made, and of the shape that W3C wants', () => {
  assert.equal(traceIdOf('c-1'), traceIdOf('c-1'))
  assert.notEqual(traceIdOf('c-1'), traceIdOf('c-2'))
  assert.notEqual(spanIdOf('a', 'bc'), spanIdOf('ab', 'c'))
  assert.match(traceparentOf('c-1', spanIdOf('conversation', 1)), /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01$/)
})

test('a span is one line of the log, with the ids of its trace', () => {
  let written = ''
  const log = createLogger({ level: 'debug', destination: { write: (line: string) => void (written += line) } })
  const spanId = spanIdOf('i1', 1)
  tellSpan(log, { name: 'agent.run', correlationId: 'c-1', spanId, startedAt: 5, endedAt: 9, attributes: { 'agent.id': 'triage' } })
  const line = JSON.parse(written) as Record<string, unknown>
  assert.deepEqual([line.event, line.span, line.traceId, line.spanId, line.durationMs], ['span', 'agent.run', traceIdOf('c-1'), spanId, 4])
})
