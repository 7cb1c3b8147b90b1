import { readdirSync } from 'node:fs'
import { platform, setPriority } from 'node:os'

/**
 * Gives this process what others leave: niceness 0 to 19, the lowest priority. On Linux a priority is a thread's, and those that collect
 * garbage and compile began before any script: each is set, and what they begin takes it over.
 */
export function takeNiceness(nice: number): void {
  if (platform() !== 'linux') return setPriority(nice)
  for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), nice)
}
