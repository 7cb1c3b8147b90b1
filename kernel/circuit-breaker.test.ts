import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CircuitBreaker, type BreakerState, type Passage } from './circuit-breaker.ts'
import { VirtualClock } from './time.ts'

function breaker() {
  const clock = new VirtualClock()
  const states: BreakerState[] = []
  const made = new CircuitBreaker({ clock, failuresMax: 5, openMs: 60_000, onChange: (state) => states.push(state) })
  const enter = (): Passage => {
    const passage = made.enter()
    assert.ok(passage !== null, 'no call may pass')
    return passage
  }
  const open = (): void => {
    for (let i = 0; i < 5; i++) enter().failed()
  }
  return { clock, states, made, enter, open }
}

test('opens after failures in a row, lets one probe through after its time, and closes or opens by it', async () => {
  const { clock, states, made, enter, open } = breaker()
  for (let i = 0; i < 4; i++) enter().failed()
  enter().succeeded()
  open()
  assert.equal(made.enter(), null)
  await clock.advance(59_999)
  assert.equal(made.enter(), null)
  assert.equal(made.opensInMs, 1)
  await clock.advance(1)
  const probe = enter()
  assert.deepEqual([made.enter(), made.enter()], [null, null], 'one probe at a time')
  probe.failed()
  assert.equal(made.enter(), null)
  await clock.advance(60_000)
  enter().succeeded()
  assert.deepEqual(states, ['open', 'half-open', 'open', 'half-open', 'closed'])
})

test('a call that began before a change has no say after it, and a probe that says nothing frees its place', async () => {
  const { clock, made, enter, open } = breaker()
  const late = enter()
  open()
  late.succeeded()
  assert.equal(made.state, 'open')
  await clock.advance(60_000)
  late.failed()
  const probe = enter()
  probe.dropped()
  probe.failed()
  assert.equal(made.state, 'half-open')
  enter().succeeded()
  assert.equal(made.state, 'closed')
})
