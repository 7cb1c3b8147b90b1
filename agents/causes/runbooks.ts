export const RUNBOOKS = {
  'RB-000': {
    title: 'When the evidence does not say',
    steps: [
      'Look at the chart from an hour before it began.',
      'Ask whoever is on site what changed.',
      'Recheck the evidence when more readings have come.',
    ],
  },
  'RB-001': {
    title: 'A value that does not move',
    steps: [
      'Compare with a hand-held instrument.',
      'Check the cable and the connector of the sensor.',
      'Restart the device; if it stays, replace the sensor.',
    ],
  },
  'RB-002': {
    title: 'A single spike',
    steps: [
      'See whether it comes again at the same time of day.',
      'Look for switching loads on the same supply.',
      'If it stays alone, resolve the alert.',
    ],
  },
  'RB-003': {
    title: 'A sensor that drifts',
    steps: ['Compare with a reference or a neighbour.', 'Clean or calibrate the sensor.', 'Plan its replacement if the drift returns.'],
  },
  'RB-004': {
    title: 'A noisy sensor',
    steps: ['Check shield, ground and connectors.', 'Look for new sources of interference.', 'Replace the sensor if noise stays.'],
  },
  'RB-005': {
    title: 'A process that changed',
    steps: [
      'Ask whether the set point or the load was changed.',
      'Look at the other metrics of the device.',
      'Inspect the machine before limits are reached.',
    ],
  },
  'RB-006': {
    title: 'Several devices at once',
    steps: [
      'Find what they share: room, line, supply, gateway, weather.',
      'Look there first, not at the devices.',
      'Acknowledge the incident as a whole.',
    ],
  },
  'RB-007': {
    title: 'A device that cannot be heard',
    steps: [
      'Check its power and its network.',
      'See whether its gateway and its neighbours are heard.',
      'Look for refused connections in the audit trail.',
    ],
  },
  'RB-008': {
    title: 'Low power',
    steps: ['Check the battery or the supply.', 'Lengthen the interval between readings.', 'Plan a visit before it falls silent.'],
  },
  'RB-009': {
    title: 'After a change of firmware',
    steps: ['Compare devices with and without the new version.', 'Stop the rollout.', 'Propose a rollback for the devices concerned.'],
  },
  'RB-010': {
    title: 'A certificate that is not as it should be',
    steps: ['Look at the finding and its remedy.', 'Renew the certificate.', 'Revoke the old one if it may be known to others.'],
  },
  'RB-011': {
    title: 'An identity in use elsewhere',
    steps: ['Quarantine the device.', 'Revoke every certificate with this key.', 'Enrol the device anew with a key of its own.'],
  },
  'RB-012': {
    title: 'Payloads set aside',
    steps: [
      'Look at rejected readings and their reasons.',
      'Compare with the firmware that should send them.',
      'Replay them once the type allows them.',
    ],
  },
  'RB-013': {
    title: 'After a change of configuration',
    steps: ['Look at the change in the audit trail.', 'Ask who made it whether this was meant.', 'Propose to revert it.'],
  },
  'RB-014': {
    title: 'Our own pipeline',
    steps: [
      'Look at the health page and at consumer lag.',
      'Check disk, memory and the stores.',
      'Wait until it has caught up before judging devices.',
    ],
  },
  'RB-015': {
    title: 'Readings sent more than once',
    steps: [
      'Look for reconnects without acknowledgements.',
      'Check what the device keeps in its queue.',
      'Nothing is stored twice meanwhile.',
    ],
  },
  'RB-016': {
    title: 'A clock that is wrong',
    steps: [
      'Check the time source of the device.',
      'Look at rejected readings for their times.',
      'Restart the device once it can reach its time source.',
    ],
  },
  'RB-017': {
    title: 'During planned maintenance',
    steps: [
      'Ask whoever works there whether this is expected.',
      'Look again when the window is over.',
      'Narrow the window if it covers too much.',
    ],
  },
  'RB-018': {
    title: 'A part of the platform that does not work',
    steps: [
      'Read what the part says; it names what to do.',
      'Check the store or the server behind it, its disk first.',
      'It goes on by itself when what it needs is back.',
    ],
  },
  'RB-019': {
    title: 'A process that is not heard of',
    steps: [
      'See whether the process runs, and read the end of its log.',
      'Check its way to the documents store.',
      'Start it again; another one has taken over its work meanwhile.',
    ],
  },
  'RB-020': {
    title: 'A consumer that is far behind',
    steps: [
      'See whether the store it writes to is slow or full.',
      'See whether more comes in than usual.',
      'Start another process of its target, up to one per partition.',
    ],
  },
  'RB-021': {
    title: 'More and more dead letters',
    steps: [
      'Look at the cause that each record in the topic carries.',
      'Find what changed: a firmware, a producer, a version of ours.',
      'Replay them once their cause is gone.',
    ],
  },
  'RB-022': {
    title: 'A model that is left alone',
    steps: [
      'Digests of rules and statistics are published meanwhile.',
      'Check the provider, the address and the key.',
      'It is tried again by itself after breakerOpenMs.',
    ],
  },
  'RB-023': {
    title: 'A training without progress',
    steps: ['See whether a process of target anomaly runs.', 'Check its memory and its processor.', 'Cancel the training and start it anew.'],
  },
  'RB-024': {
    title: 'Processes whose clocks differ',
    steps: [
      'Check the time service of the machine that is named.',
      'Leases and windows by time are wrong until it is right.',
      'Look at what was decided there meanwhile.',
    ],
  },
} as const
export type RunbookId = keyof typeof RUNBOOKS
export const RUNBOOK_IDS = Object.keys(RUNBOOKS) as RunbookId[]
