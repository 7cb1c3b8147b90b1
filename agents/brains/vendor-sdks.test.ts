import assert from 'node:assert/strict'
import { test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { compileSchema } from '../../kernel/schema.ts'
import { Type } from 'typebox'
import { FIXTURES, USAGE } from './testing/wire-fixtures.ts'
import { GOOD_REPLY, WireServer, type Scenario } from './testing/wire-server.ts'

/* The fixtures are ours, from the providers' pages. That the providers' own libraries read them is the check that does not come from us. */

const STATUSES: Readonly<Record<string, readonly [claude: number, chatgpt: number, grok: number, perplexity: number]>> = {
  ...{ bad400: [400, 400, 400, 400], key401: [401, 401, 400, 401], quota: [400, 429, 429, 401] },
  ...{ rate429: [429, 429, 429, 429], error500: [500, 500, 500, 500], overloaded: [529, 503, 503, 503] },
}
const messages = [{ role: 'user' as const, content: 'x' }]

test('Anthropic’s own library reads every fixture of Claude', async (t) => {
  const server = await WireServer.start(t, 'claude')
  const client = new Anthropic({ apiKey: 'none', baseURL: server.origin, maxRetries: 0 })
  const body = { model: 'm', max_tokens: 10, messages }
  const say = (scenario: Scenario) => (server.say(scenario), client.messages.create(body))
  const ok = await say('ok')
  assert.deepEqual([ok.content[0]?.type === 'tool_use' && ok.content[0].input, ok.stop_reason], [GOOD_REPLY, 'tool_use'])
  assert.deepEqual([ok.usage.input_tokens, ok.usage.output_tokens], [USAGE.input, USAGE.output])
  assert.equal((await say('refusal')).stop_reason, 'refusal')
  assert.equal((await say('maxTokens')).stop_reason, 'max_tokens')
  const called = await say('toolCall')
  assert.equal(called.content[0]?.type === 'tool_use' && called.content[0].name, 'run_shell')
  server.say('ok')
  const whole = await client.messages.stream(body).finalMessage()
  assert.deepEqual([whole.content[0]?.type === 'tool_use' && whole.content[0].input, whole.usage.output_tokens], [GOOD_REPLY, USAGE.output])
  server.say('refusal')
  assert.equal((await client.messages.stream(body).finalMessage()).stop_reason, 'refusal')
  for (const [scenario, [status]] of Object.entries(STATUSES)) {
    const error = await say(scenario as Scenario).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof Anthropic.APIError, scenario)
    assert.equal(error.status, status, scenario)
    assert.equal((error.error as { type?: string }).type, 'error', scenario)
    if (scenario === 'rate429') assert.equal((error.headers as Headers).get('retry-after'), '1')
  }
})

for (const [at, kind] of (['chatgpt', 'grok', 'perplexity', 'compatible'] as const).entries()) {
  test(`OpenAI’s own library reads every fixture of ${kind}`, async (t) => {
    const server = await WireServer.start(t, kind)
    const client = new OpenAI({ apiKey: 'none', baseURL: server.origin + (kind === 'perplexity' ? '' : '/v1'), maxRetries: 0 })
    const body = { model: 'm', messages }
    const say = async (scenario: Scenario) => (server.say(scenario), (await client.chat.completions.create(body)).choices[0])
    assert.deepEqual(JSON.parse((await say('ok'))?.message.content ?? ''), GOOD_REPLY)
    assert.match((await say('refusal'))?.message.refusal ?? '', /cannot/)
    assert.equal((await say('maxTokens'))?.finish_reason, 'length')
    const [call] = (await say('toolCall'))?.message.tool_calls ?? []
    assert.equal(call?.type === 'function' && call.function.name, 'run_shell')
    server.say('ok')
    let words = ''
    let tokens: number | undefined
    for await (const chunk of await client.chat.completions.create({ ...body, stream: true, stream_options: { include_usage: true } })) {
      words += chunk.choices[0]?.delta.content ?? ''
      tokens = chunk.usage?.completion_tokens ?? tokens
    }
    assert.deepEqual([JSON.parse(words), tokens], [GOOD_REPLY, USAGE.output])
    for (const [scenario, statuses] of Object.entries(STATUSES)) {
      const error = await say(scenario as Scenario).then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      assert.ok(error instanceof OpenAI.APIError, scenario)
      assert.equal(error.status, statuses[kind === 'compatible' ? 1 : at + 1], scenario)
      if (kind === 'chatgpt' && scenario === 'quota') assert.equal(error.code, 'insufficient_quota')
    }
  })
}

test('Gemini has no library here: its fixtures fit the fields that its page names', () => {
  const text = Type.String()
  const count = Type.Integer()
  const closed = { additionalProperties: false }
  const call = Type.Object({ name: text, args: Type.Object({}) })
  const part = Type.Object({ text: Type.Optional(text), functionCall: Type.Optional(call) }, closed)
  const content = Type.Object({ parts: Type.Array(part), role: Type.Literal('model') }, closed)
  const finishReason = Type.Optional(Type.Union([Type.Literal('STOP'), Type.Literal('MAX_TOKENS'), Type.Literal('SAFETY')]))
  const candidate = Type.Object({ content, finishReason, index: count }, closed)
  const usageMetadata = Type.Object({ promptTokenCount: count, candidatesTokenCount: count, totalTokenCount: count }, closed)
  const promptFeedback = Type.Object(
    { blockReason: text, safetyRatings: Type.Array(Type.Object({ category: text, probability: text }, closed)) },
    closed,
  )
  const optional = {
    candidates: Type.Optional(Type.Array(candidate)),
    usageMetadata: Type.Optional(usageMetadata),
    promptFeedback: Type.Optional(promptFeedback),
  }
  const response = compileSchema(Type.Object({ ...optional, modelVersion: Type.Optional(text), responseId: Type.Optional(text) }, closed))
  const failure = compileSchema(
    Type.Object(
      { error: Type.Object({ code: count, message: text, status: text, details: Type.Array(Type.Object({ '@type': text })) }, closed) },
      closed,
    ),
  )
  const { reply, replyEvents, refusal, toolCall, errors } = FIXTURES.gemini
  const all = [reply('x'), reply('x', 'length'), refusal().json, toolCall().json, ...replyEvents('x'.repeat(200)).map(({ data }) => data)]
  for (const each of all) assert.deepEqual(response(structuredClone(each)).status, 'valid', JSON.stringify(each))
  for (const { body } of Object.values(errors)) assert.equal(failure(structuredClone(body)).status, 'valid')
})

test('every fixture says where it is from, and none claims to be captured', () => {
  for (const [kind, { provenance }] of Object.entries(FIXTURES)) {
    assert.match(provenance.date, /^\d{4}-\d\d-\d\d$/, kind)
    assert.ok(URL.canParse(provenance.page) && provenance.apiVersion !== '', kind)
    assert.equal(provenance.kind, 'from-docs', kind)
  }
})
