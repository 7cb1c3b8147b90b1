import { writeSync } from 'node:fs'
import { message, openTemporaryLog, topicSpec } from './temporary-log.ts'

/** Appends a few messages one after the other and prints a line when each was answered; its system calls are traced. */
const { log, close } = await openTemporaryLog({ directory: process.argv[2]! })
await log.ensureTopics([topicSpec('traced')])
for (let i = 0; i < 20; i++) {
  writeSync(1, `ask ${i}\n`)
  await log.append('traced', [message('k', String(i))])
  writeSync(1, `answer ${i}\n`)
}
await close()
