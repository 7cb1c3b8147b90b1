import { message, openTemporaryLog } from './temporary-log.ts'

/** Appends one message from a process of its own. */
const [directory, topic, text] = process.argv.slice(2)
const { log, close } = await openTemporaryLog({ directory: directory! })
await log.append(topic!, [message('k', text!)])
await close()
