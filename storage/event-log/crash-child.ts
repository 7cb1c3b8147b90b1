import { printNow } from '../testing/print-now.ts'
import { message, openTemporaryLog, topicSpec } from './temporary-log.ts'

/**
 * Appends numbered messages to the log in the folder given until it is killed; prints each number when its append was answered.
 * Odd numbers are a consumer's commit of that offset together with its output.
 */
const [directory, firstNumber] = process.argv.slice(2)
const { log } = await openTemporaryLog({ directory: directory! })
await log.ensureTopics([topicSpec('numbers', 2), topicSpec('input'), topicSpec('outputs')])
const consumer = await log.consume({ group: 'crash', topic: 'input' })

let number = Number(firstNumber)
printNow('ready\n')
for (;;) {
  const acknowledged: Promise<void>[] = []
  for (let i = 0; i < 10; i++, number++) {
    const current = number
    const text = String(current)
    const done =
      current % 2 === 0
        ? log.append('numbers', [message(`key-${current % 6}`, text)])
        : consumer.commit(new Map([[0, current]]), [{ topic: 'outputs', messages: [message('k', text)] }])
    acknowledged.push(done.then(() => void printNow(`${text}\n`)))
  }
  // Now and then a turn is not waited for, so that several commits are under way at any moment.
  if (number % 30 === 0) await Promise.all(acknowledged)
  else await new Promise((resolve) => setImmediate(resolve))
}
