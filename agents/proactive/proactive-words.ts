import type { FiringDocument } from './firing.ts'

/** Names of figures, for people. */
const FIGURES: Readonly<Record<string, string>> = {
  devices: 'devices that have it',
  alike: 'devices with the like alert in all',
  usual: 'usual in such a time',
  alerts: 'alerts in that time',
  certificates: 'certificates',
  daysLeft: 'days until the first one ends',
  level: 'where it is',
  limit: 'the limit',
  perHour: 'change per hour',
  hoursLeft: 'hours until it is reached, if it goes on like this',
  points: 'means that the trend is taken from',
  sureness: 'sureness of the trend, in standard deviations of chance',
}

/** What an agent says of a pattern that it saw by itself: what, how much, on what it rests, and what to do. */
export function proactiveWords({ title, ruleName, figures, devices, deviceCount, summary, remedy, state }: FiringDocument): string {
  const { reachedAt, ...rest } = figures
  const named = deviceCount > devices.length ? `${devices.join(', ')} and ${deviceCount - devices.length} more` : devices.join(', ')
  return [
    `${title}.${state === 'over' ? ' It is over.' : ''}`,
    ...(summary === '' ? [] : [summary]),
    '',
    ...Object.entries(rest).map(([name, value]) => `- ${FIGURES[name] ?? name}: ${value}`),
    ...(reachedAt === undefined ? [] : [`- reached at: ${new Date(reachedAt).toISOString()}`]),
    ...(named === '' ? [] : [`- ${named}`]),
    ...(remedy === '' ? [] : ['', `What to do: ${remedy}`]),
    '',
    `Seen by rule “${ruleName}”: rules and statistics, no language model. Nobody has acted.`,
  ].join('\n')
}
