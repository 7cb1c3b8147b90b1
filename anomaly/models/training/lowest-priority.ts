import { readdirSync } from 'node:fs'
import { constants, platform, setPriority } from 'node:os'

const { PRIORITY_LOW } = constants.priority

/**
 * Gives this process what others leave. On Linux a priority is a thread's, and those that collect garbage and compile began before any
 * script: each is set, and what they begin takes it over.
 */
export function takeLowestPriority(): void {
  if (platform() !== 'linux') return setPriority(PRIORITY_LOW)
  for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), PRIORITY_LOW)
}
