import { Command } from 'commander'
import { displayText, tainted } from '../agents/evidence/tainted.ts'
import { TRACE_KINDS, type Trace, type TraceNode } from '../dashboard/api/trace/trace.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'

/** Things of one kind that are drawn; --all draws each. */
const SHOWN_MAX = 10

interface TraceOptions extends PlatformOptions {
  all?: boolean
  json?: boolean
}

export function traceCommand(): Command {
  return new Command('trace')
    .description('Draw the chain from raw readings to what people were told, by the id of anything on it')
    .argument('<id>', 'an alert, incident, conversation, message, evidence or anomaly; a reading as DEVICE@TS (event time, epoch ms)')
    .option('--all', `draw everything, not ${SHOWN_MAX} of each kind`)
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'the whole chain as one line of JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  fleetpulse trace 01kb…            (an alert, as `alerts` lists it)\n  fleetpulse trace pump-1@1763680000000\n',
    )
    .action(trace)
}

async function trace(id: string, options: TraceOptions): Promise<void> {
  const api = ApiClient.find(options)
  try {
    const found = await api.get<Trace>(`/traces/${encodeURIComponent(id)}`)
    process.stdout.write(options.json === true ? `${JSON.stringify(found)}\n` : drawn(found, options.all === true))
  } finally {
    await api.close()
  }
}

function drawn({ incident, correlationId, traceId, truncated, nodes }: Trace, isAll: boolean): string {
  const lines = [`incident ${incident}`, `correlation id ${plain(correlationId)}, trace ${traceId}`]
  for (const kind of TRACE_KINDS) {
    const of = nodes.filter((node) => node.kind === kind)
    const shown = isAll ? of : of.slice(0, SHOWN_MAX)
    for (const node of shown) lines.push(line(node))
    if (of.length > shown.length) lines.push(`${kind.padEnd(12)} … ${of.length - shown.length} more (--all)`)
  }
  if (truncated) lines.push('There was more than a trace holds.')
  return `${lines.join('\n')}\n`
}

function line({ kind, id, at, says, from }: TraceNode): string {
  const when = at === null ? '' : new Date(at).toISOString()
  const origin =
    from.length === 0 ? '' : `  <- ${from.length > 2 ? `${from.slice(0, 2).join(', ')} and ${from.length - 2} more` : from.join(', ')}`
  return `${kind.padEnd(12)} ${when}  ${plain(id)}  ${plain(says)}${plain(origin)}`
}

/** Text that a device may have had a hand in, for a terminal. */
function plain(text: string): string {
  return displayText(tainted(text), 400)
}
