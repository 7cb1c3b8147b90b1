import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readRuntimeInfo } from '../app/data-folder.ts'
import { DeviceConnection } from '../simulators/device-connection.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'
import { systemCalls, type SystemCall } from './testing/system-calls.ts'

/*
 * "Acked means durable" holds through power loss only if the disk was told before the device: seen from outside, by the system calls of
 * the platform. For each publish its bytes are written to the log's file, that file is synced, and only then bytes go to the device.
 */

const DEVICE = 'traced-1'
const PUBLISHES = 5
const TRACED = 'trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fdatasync,fsync,msync'

/** strace is no part of Node; FLEETPULSE_REQUIRE_TOOLS=1 makes its absence a failure. */
const canTrace = process.env.FLEETPULSE_REQUIRE_TOOLS === '1' || spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0

test(
  'the log is synced before PUBACK leaves',
  { skip: canTrace ? false : 'strace cannot run here: the order of sync and PUBACK was NOT tested' },
  async (t) => {
    const platform = new PlatformProcess()
    t.after(() => platform.remove())
    const ready = await platform.start()
    const { key, cert, ca } = await platform.provision(DEVICE)
    const bundle = { keyPem: key.toString(), certPem: cert.toString(), caPem: ca.toString() }
    let acked = 0
    const onAcked = (packetIds: readonly number[]): void => void (acked += packetIds.length)
    const connection = new DeviceConnection({
      host: 'localhost',
      port: ready.mqtts,
      device: DEVICE,
      bundle,
      keepAliveS: 60,
      onAcked,
      onClosed: () => undefined,
    })
    t.after(() => connection.cut())
    await connection.open()

    const trace = join(platform.folder, 'trace.txt')
    const strace = await attach(readRuntimeInfo(platform.data)?.pid as number, trace)
    t.after(() => void strace.kill('SIGKILL'))
    for (let i = 0; i < PUBLISHES; i++) {
      connection.publish(Buffer.from(JSON.stringify({ boot: markerOf(i), seq: i, values: { temperature: 20 } })))
      await until(`acknowledgement ${i}`, () => Promise.resolve(acked === i + 1))
    }
    await detach(strace)

    const calls = systemCalls(readFileSync(trace, 'utf8'))
    const log = `${join(platform.data, 'log')}/`
    const pubacks = calls.filter((call) => isToDevice(call, ready.mqtts))
    assert.equal(pubacks.length, PUBLISHES, 'one write to the device for each acknowledgement')
    for (let i = 0; i < PUBLISHES; i++) {
      const written = calls.find(
        (call) => /^p?writev?(?:64)?$/.test(call.name) && call.text.includes(log) && call.text.includes(markerOf(i)),
      )
      assert.ok(written !== undefined, `publish ${i} was never written to the log`)
      const synced = calls.find(
        (call) => /^(?:fdatasync|fsync|msync)$/.test(call.name) && call.text.includes(log) && call.beganAt > written.endedAt,
      )
      assert.ok(synced?.result === '0', `publish ${i} was written and not synced`)
      const puback = pubacks[i] as SystemCall
      assert.ok(
        synced.endedAt < puback.beganAt,
        `bytes went to the device (line ${puback.beganAt}) before the sync returned (line ${synced.endedAt})`,
      )
    }
  },
)

/** Text of a publish that is in no other: it is found in what is written to the log. */
function markerOf(publish: number): string {
  return `traced-publish-${publish}-`
}

/** A write to the one connected device, on the socket of the MQTT listener. */
function isToDevice(call: SystemCall, mqttsPort: number): boolean {
  return /^(?:write|writev|sendto|sendmsg)$/.test(call.name) && new RegExp(`^[^"]*:${mqttsPort}->`).test(call.text)
}

/** Resolves when the process is traced, all its threads. */
async function attach(pid: number, output: string): Promise<ChildProcess> {
  const strace = spawn('strace', ['-f', '-yy', '-s', '70000', '-e', TRACED, '-o', output, '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  strace.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await until('strace to attach', () => {
    assert.equal(strace.exitCode, null, `strace cannot attach: ${said}`)
    return Promise.resolve(/attached/.test(said))
  })
  return strace
}

async function detach(strace: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => strace.once('exit', resolve))
  strace.kill('SIGINT')
  await ended
}
