import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** A start on a machine that has other work takes seconds. */
const WAIT_MAX_MS = 60_000

/** Kills a child as soon as it wrote anything. Fails when it ends before, or says nothing in time. */
export async function killWhenItSpeaks(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  const spoken = once(child.stdout ?? assert.fail('its output is not read'), 'data', { signal: AbortSignal.timeout(WAIT_MAX_MS) })
  try {
    await Promise.race([spoken, exited.then(([code]) => assert.fail(`it ended before it was to be killed, with ${code}`))])
  } finally {
    child.kill('SIGKILL')
    await exited
  }
}
