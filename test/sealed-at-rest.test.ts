import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Conversation, Message } from '../contracts/conversation.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/* What people say in conversations, looked for in every byte that the process users start leaves on the disk. */

const PRIVATE = 'canary-private-wombat'
const SHARED = 'canary-shared-quokka'
const CONTROL = 'canary-control-numbat'
const platform = new PlatformProcess()
before(() => platform.start())
after(() => platform.remove())

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function holding(text: string, folder = platform.data): string[] {
  return filesBelow(folder).filter((file) => readFileSync(file).includes(text))
}

test('words of conversations and events of agents lie sealed, and are read and found as before', { timeout: 300_000 }, async () => {
  const begin = async (title: string, chatType: string, message: string): Promise<string> => {
    const { status, body } = await platform.post<Conversation>('/conversations', { title, agents: ['reporter'], chatType, message })
    assert.equal(status, 201, JSON.stringify(body))
    return body.id
  }
  const hidden = await begin('between two', 'private', `Is it ${PRIVATE}?`)
  const shared = await begin(CONTROL, 'group', `Is it ${SHARED}?`)
  const said = async (id: string): Promise<Message[]> => (await platform.get<{ items: Message[] }>(`/conversations/${id}/messages`)).items
  for (const id of [hidden, shared]) await until('an answer', async () => (await said(id)).find(({ from }) => from === 'agent:reporter'))
  const told = await until('the journal has it', async () => {
    const { items } = await platform.get<{ items: { type: string; data: { content?: string | null } }[] }>('/events?type=MessageSent')
    return items.find(({ type, data }) => type === 'MessageSent' && (data.content ?? '').includes(SHARED))
  })
  assert.ok(told)
  const readable = async (): Promise<void> => {
    assert.equal((await said(hidden))[0]?.content, `Is it ${PRIVATE}?`)
    const found = (await platform.get<{ items: Conversation[] }>(`/conversations?search=${PRIVATE.toUpperCase()}`)).items
    assert.deepEqual(
      found.map(({ id }) => id),
      [hidden],
    )
  }
  await readable()

  await platform.stop()
  assert.deepEqual(holding(PRIVATE), [], 'not a byte of it')
  const documents = join(platform.data, 'documents')
  assert.deepEqual(holding(SHARED, documents), [])
  assert.notDeepEqual(holding(CONTROL, documents), [], 'what is not sealed is found: the title, in the audit trail')
  const keys = join(platform.data, 'seal-keys')
  assert.equal(statSync(keys).mode & 0o777, 0o600)
  assert.deepEqual(holding(readFileSync(keys, 'utf8').trim()), [keys])
  assert.ok(!platform.stderr.includes(PRIVATE))

  await platform.start()
  await readable()
})
