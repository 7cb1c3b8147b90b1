import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { TopicIndex, topicMatches } from './topic-index.ts'

/** The standard's rules, level by level, as plainly as they can be said. */
function plainlyMatches(filter: string[], topic: string[]): boolean {
  if (filter[0] === '#') return true
  if (filter.length === 0 || topic.length === 0) return filter.length === topic.length
  if (filter[0] !== '+' && filter[0] !== topic[0]) return false
  if (topic.length === 1 && filter.length === 2 && filter[1] === '#') return true
  return plainlyMatches(filter.slice(1), topic.slice(1))
}

const level = fc.constantFrom('', 'a', 'b', 'ab', '$c')
const topics = fc.array(level, { minLength: 1, maxLength: 6 }).filter((levels) => levels.join('/') !== '')
const filters = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 0, maxLength: 6 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, '#'] : levels))
  .filter((levels) => levels.join('/') !== '')

test('examples of the standard, §4.7', () => {
  const cases: [string, string, boolean][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/monitor', false],
    ['+/monitor', '$SYS/monitor', false],
    ['$SYS/#', '$SYS/monitor', true],
  ]
  for (const [filter, topic, expected] of cases) assert.equal(topicMatches(filter, topic), expected, `${filter} ~ ${topic}`)
})

test('matching agrees with the plain rules', () => {
  fc.assert(
    fc.property(filters, topics, (filter, topic) => {
      const hidden = (filter[0] === '#' || filter[0] === '+') && topic[0]?.startsWith('$') === true
      assert.equal(topicMatches(filter.join('/'), topic.join('/')), !hidden && plainlyMatches(filter, topic))
    }),
    { numRuns: 2_000, verbose: true },
  )
})

test('the index finds what a scan finds, through additions and removals', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(filters, fc.boolean()), { maxLength: 30 }), topics, (changes, topic) => {
      const index = new TopicIndex<number>()
      const held: [string, number][] = []
      for (const [n, [levels, removes]] of changes.entries()) {
        const filter = levels.join('/')
        index.add(filter, n)
        held.push([filter, n])
        const victim = removes ? held.splice(n % held.length, 1)[0] : undefined
        if (victim !== undefined)
          assert.equal(
            index.remove(victim[0], (value) => value === victim[1]),
            true,
          )
      }
      const expected = held.filter(([filter]) => topicMatches(filter, topic.join('/'))).map(([, n]) => n)
      const byNumber = (a: number, b: number): number => a - b
      assert.deepEqual(index.match(topic.join('/')).sort(byNumber), expected.sort(byNumber))
      assert.equal(
        index.remove('never/added', () => true),
        held.some(([filter]) => filter === 'never/added'),
      )
    }),
    { verbose: true },
  )
})
