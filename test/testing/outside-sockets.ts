import { spawnSync } from 'node:child_process'
import { isIPv4, BlockList } from 'node:net'

/** Runs a program so that what it connects and sends to is written to `file`, from its first thread to its last. */
export function tracingSockets(file: string): string[] {
  return ['strace', '-D', '-f', '-qq', '--seccomp-bpf', '-e', 'trace=connect,sendto,sendmsg,sendmmsg,listen', '-o', file]
}

/** strace is no part of Node; FLEETPULSE_REQUIRE_TOOLS=1 makes its absence a failure. */
export function canTraceSockets(): boolean {
  const [program = '', ...rest] = tracingSockets('/dev/null')
  return process.env.FLEETPULSE_REQUIRE_TOOLS === '1' || spawnSync(program, [...rest, 'true']).status === 0
}

const THIS_MACHINE = new BlockList()
THIS_MACHINE.addSubnet('127.0.0.0', 8)
THIS_MACHINE.addAddress('::1', 'ipv6')
const ADDRESS = /inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"/g

/** Sockets in such a trace: lines that name an address of another machine, and how many calls were seen at all. */
export function outsideSockets(trace: string): { calls: number; outside: string[] } {
  const lines = trace.split('\n').filter((line) => line.includes('('))
  const outside = lines.filter((line) =>
    Array.from(line.matchAll(ADDRESS), ([, v4, v6]) => v4 ?? v6 ?? '').some(
      (address) => !THIS_MACHINE.check(address, isIPv4(address) ? 'ipv4' : 'ipv6'),
    ),
  )
  return { calls: lines.length, outside }
}
