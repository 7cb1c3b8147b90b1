import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crossCheckBrainsConfig } from './config.ts'
import { isLoopback } from './endpoint.ts'
import { brainsConfig } from './testing/brain-world.ts'

const faultsOf = (changes: Record<string, unknown>): string[] =>
  crossCheckBrainsConfig(brainsConfig(changes), 'brains').map(({ key }) => key)

test('a model that is named needs what it is asked with, and a key goes out in the clear only to this machine', () => {
  assert.deepEqual(faultsOf({}), [])
  assert.deepEqual(faultsOf({ brain: 'claude' }), ['brains.claude.apiKey'])
  assert.deepEqual(faultsOf({ brain: 'compatible' }), ['brains.compatible.model'])
  assert.deepEqual(faultsOf({ brain: 'compatible', compatible: { model: 'llama3.1:8b' } }), [])
  assert.deepEqual(faultsOf({ chatgpt: { apiKey: 'k', baseUrl: 'http://10.0.0.1/v1' } }), ['brains.chatgpt.baseUrl'])
  assert.deepEqual(faultsOf({ chatgpt: { apiKey: 'k', baseUrl: 'http://127.0.0.1:1/v1' } }), [])
  assert.deepEqual(faultsOf({ grok: { apiKey: 'k', baseUrl: 'https://u:p@api.x.ai/v1' } }), ['brains.grok.baseUrl'])
  assert.deepEqual(faultsOf({ gemini: { apiKey: 'k\nx: y' } }), ['brains.gemini.apiKey'])
  assert.deepEqual(
    faultsOf({ brain: 'compatible', compatible: { model: 'm', baseUrl: 'http://192.168.1.5:11434/v1' } }),
    [],
    'Ollama elsewhere, without a key',
  )
  assert.deepEqual(faultsOf({ tokensPerDay: 1_000, retryInitialMs: 100, retryMaxMs: 50 }), ['brains.retryMaxMs', 'brains.tokensPerDay'])
  for (const host of ['localhost', '127.0.0.1', '[::1]', 'a.localhost']) assert.ok(isLoopback(host), host)
  for (const host of ['127.0.0.1.example.com', 'localhost.example.com', '10.0.0.1', '0.0.0.0']) assert.ok(!isLoopback(host), host)
})
