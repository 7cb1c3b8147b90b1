import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { VirtualClock } from '../../kernel/time.ts'
import { DeadlineWheel, type DeadlineOwner } from './deadline-wheel.ts'

class Recorder implements DeadlineOwner {
  readonly firedMs: number[] = []
  readonly #clock: VirtualClock
  constructor(clock: VirtualClock) {
    this.#clock = clock
  }
  onDeadline(): void {
    this.firedMs.push(this.#clock.monotonicMs())
  }
}

describe('the deadline wheel', () => {
  it('is never early and at most one tick late', async () => {
    const clock = new VirtualClock()
    const wheel = new DeadlineWheel(clock)
    const delays = [0, 1, 249, 250, 251, 1_000, 7_501]
    const startsMs: number[] = []
    const recorders = delays.map(() => new Recorder(clock))
    for (const [i, delayMs] of delays.entries()) {
      await clock.advance(37)
      startsMs.push(clock.monotonicMs())
      wheel.arm(recorders[i]!, delayMs)
    }
    await clock.advance(10_000)
    for (const [i, delayMs] of delays.entries()) {
      const [firedMs] = recorders[i]!.firedMs
      const lateMs = firedMs! - startsMs[i]! - delayMs
      assert.ok(lateMs >= 0 && lateMs <= 2 * wheel.tickMs, `${delayMs} ms fired ${lateMs} ms late`)
      assert.equal(recorders[i]!.firedMs.length, 1)
    }
    assert.equal(wheel.size, 0)
  })

  it('moves, drops and re-arms while it fires', async () => {
    const clock = new VirtualClock()
    const wheel = new DeadlineWheel(clock)
    const moved = new Recorder(clock)
    const dropped = new Recorder(clock)
    wheel.arm(moved, 500)
    wheel.arm(moved, 2_000)
    let rounds = 0
    const again: DeadlineOwner = {
      onDeadline: () => {
        wheel.disarm(dropped)
        if (++rounds < 3) wheel.arm(again, 250)
      },
    }
    wheel.arm(again, 250)
    wheel.arm(dropped, 250)
    await clock.advance(1_900)
    assert.deepEqual([rounds, moved.firedMs.length, dropped.firedMs.length], [3, 0, 0])
    await clock.advance(400)
    assert.equal(moved.firedMs.length, 1)
  })

  it('judges nobody right after the process stood still', async () => {
    const clock = new VirtualClock()
    let nowMs = 0
    const wheel = new DeadlineWheel({ nowMs: () => nowMs, monotonicMs: () => nowMs, after: (delayMs, run) => clock.after(delayMs, run) })
    const recorder = new Recorder(clock)
    wheel.arm(recorder, 1_000)
    nowMs = 60_000
    await clock.advance(250)
    assert.equal(recorder.firedMs.length, 0)
    nowMs = 60_250
    await clock.advance(250)
    assert.equal(recorder.firedMs.length, 1)
  })

  it('has no timer when nothing is armed, nor after stop', async () => {
    const clock = new VirtualClock()
    let timers = 0
    const wheel = new DeadlineWheel({
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, run) => {
        timers++
        return clock.after(delayMs, run)
      },
    })
    const recorder = new Recorder(clock)
    wheel.arm(recorder, 250)
    await clock.advance(1_000)
    const idle = timers
    await clock.advance(60_000)
    assert.equal(timers, idle)
    wheel.arm(recorder, 250)
    wheel.stop()
    wheel.stop()
    wheel.arm(recorder, 250)
    await clock.advance(1_000)
    assert.deepEqual([recorder.firedMs.length, wheel.size], [1, 0])
  })
})
