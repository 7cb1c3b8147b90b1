import assert from 'node:assert/strict'
import type { Draft } from '../../agents/summary/draft.ts'
import type { ModelView } from '../../agents/summary/model-view.ts'

/** What an honest model of the compatible wire would say of what it is shown: each required claim by its name and figure. */
export function honestReply(body: string): string {
  const prompt = (JSON.parse(body) as { messages: { content: string }[] }).messages[1]?.content ?? ''
  const view = JSON.parse(prompt.slice('DATA\n'.length)) as ModelView
  const stated = view.claims.filter(({ required }) => required)
  const text = ({ id, evidence }: ModelView['claims'][number]): string =>
    `There is now {c:${id}.name} {c:${id}.value} ${evidence.map((each) => `[ev:${each}]`).join(' ')}`
  const [first] = stated
  assert.ok(first !== undefined)
  const sentences: Draft['sentences'] = stated
    .slice(0, 16)
    .map((claim) => ({ section: 'what_happened', text: `${text(claim)}.`, claims: [claim.id] }))
  return JSON.stringify({ headline: text(first), sentences, causes: view.causes, checks: view.runbooks, control: null })
}
