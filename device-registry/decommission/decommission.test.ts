import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { MessageChannel } from 'node:worker_threads'
import { compactVerify } from 'jose'
import { ConflictError, NotFoundError, type FleetpulseError } from '../../kernel/errors.ts'
import { temporaryFolder } from '../../storage/documents/testing/lmdb-fixture.ts'
import { until } from '../testing/stores.ts'
import { DECOMMISSION_RECEIPT, STEPS, type JobView } from './job.ts'
import { DecommissionWork } from './decommission-work.ts'
import { Decommission } from './decommission.ts'
import { killedAt } from './testing/killed-at.ts'
import { LeavingWorld, RECEIPT_PUBLIC_KEY } from './testing/leaving-world.ts'

const TENANT = 'default'
const BY = 'user:ann'

async function finished(service: Decommission, device: string, tenant = TENANT): Promise<JobView> {
  await until(`${device} is out`, async () => (await service.get(tenant, device)).state === 'done', 20_000)
  return service.get(tenant, device)
}

interface Statement {
  device: string
  tenant: string
  steps: { name: string; result: Record<string, unknown> }[]
  historySha256: string
  remains: string[]
}

async function statementOf(service: Decommission, device: string, tenant = TENANT): Promise<Statement> {
  const { payload, protectedHeader } = await compactVerify(await service.receipt(tenant, device), RECEIPT_PUBLIC_KEY)
  assert.equal(protectedHeader.alg, 'EdDSA')
  assert.equal(protectedHeader.typ, DECOMMISSION_RECEIPT)
  return JSON.parse(Buffer.from(payload).toString()) as Statement
}

const resultOf = ({ steps }: Pick<Statement, 'steps'>, name: string): Record<string, unknown> | undefined =>
  steps.find((step) => step.name === name)?.result

it('leads a device out step by step, and signs what was done', async (t) => {
  const world = await LeavingWorld.open(t)
  const service = await world.start()
  await world.device('d1', 20)
  await world.store('other', 5)
  world.credentials.tokens = 1
  const begun = await service.decommission(TENANT, 'd1', { readings: 'erase', why: 'end of life', origin: '10.0.0.9' }, BY)
  assert.equal(begun.state, 'running')
  assert.equal((await world.registry.getDevice(TENANT, 'd1')).state, 'decommissioning', 'locked before it is answered')
  const job = await finished(service, 'd1')
  assert.deepEqual(
    job.steps.map(({ name }) => name),
    STEPS,
  )
  const statement = await statementOf(service, 'd1')
  assert.deepEqual(resultOf(statement, 'lock'), { from: 'active', to: 'decommissioning' })
  assert.deepEqual(resultOf(statement, 'cancel'), { messages: 2 })
  assert.equal(resultOf(statement, 'wipe')?.outcome, 'acknowledged')
  assert.deepEqual([resultOf(statement, 'revoke')?.revoked, resultOf(statement, 'revoke')?.tokens], [2, 1])
  const { rule, readings, left, complete } = resultOf(statement, 'readings') ?? {}
  assert.deepEqual([rule, readings, left, complete], ['erase', 20, 0, true])
  assert.deepEqual(resultOf(statement, 'forget'), { connections: 1, sessions: 1, messages: 2, retained: 3 })
  assert.deepEqual(resultOf(statement, 'tombstone'), { state: 'decommissioned' })
  assert.match(statement.historySha256, /^[0-9a-f]{64}$/)
  assert.ok(statement.remains.length > 0)
  assert.equal(await world.series.count(TENANT, 'd1'), 0)
  assert.equal(await world.series.count(TENANT, 'other'), 5)
  const [wipe] = world.edge.sent
  assert.equal((JSON.parse(Buffer.from(wipe?.payloadBase64 ?? '', 'base64').toString()) as { command: string }).command, 'wipe')
  assert.deepEqual(
    world.edge.asked.map(({ scope, serials }) => [scope, serials.length]),
    [
      ['messages', 0],
      ['everything', 2],
    ],
  )
  const [tombstone, lock] = await world.registry.history(TENANT, 'd1')
  assert.deepEqual([tombstone?.to, lock?.to, lock?.why, lock?.origin], ['decommissioned', 'decommissioning', 'end of life', '10.0.0.9'])
})

it('erases what others keep under the id together with the readings, and says so; what is kept stays whole', async (t) => {
  const world = await LeavingWorld.open(t)
  const service = await world.start()
  await world.device('d1', 3)
  await world.device('d2', 3)
  await service.decommission(TENANT, 'd1', { readings: 'erase' }, BY)
  await service.decommission(TENANT, 'd2', { readings: 'keep' }, BY)
  await finished(service, 'd1')
  await finished(service, 'd2')
  assert.deepEqual([...world.traces.erased], ['default/d1'])
  assert.deepEqual(resultOf(await statementOf(service, 'd1'), 'readings')?.traces, { notes: 2 })
  assert.equal(resultOf(await statementOf(service, 'd2'), 'readings')?.traces, undefined)
})

it('cannot be asked twice, for nobody, or for one that is gone; two at once get one yes', async (t) => {
  const world = await LeavingWorld.open(t)
  const service = await world.start()
  await world.device('d1', 0)
  await assert.rejects(service.decommission(TENANT, 'nobody', {}, BY), NotFoundError)
  await assert.rejects(service.get(TENANT, 'd1'), NotFoundError)
  const asked = await Promise.allSettled([service.decommission(TENANT, 'd1', {}, BY), service.decommission(TENANT, 'd1', {}, BY)])
  assert.deepEqual(asked.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  await finished(service, 'd1')
  for (let times = 0; times < 2; times++) {
    await assert.rejects(service.decommission(TENANT, 'd1', {}, BY), (error: FleetpulseError) => {
      assert.ok(error instanceof ConflictError && error.code === 'ILLEGAL_TRANSITION')
      assert.match(error.message, /was decommissioned/)
      return true
    })
  }
  const statement = await statementOf(service, 'd1')
  assert.equal(resultOf(statement, 'readings')?.rule, 'keep', 'erasing has to be chosen')
})

it('says honestly what became of the wipe: failed, timed out, not asked, nobody to fetch it', async (t) => {
  const world = await LeavingWorld.open(t)
  const service = await world.start()
  const outcomeOf = async (device: string, request: Parameters<Decommission['decommission']>[2]): Promise<unknown> => {
    await service.decommission(TENANT, device, request, BY)
    return resultOf(await finished(service, device), 'wipe')?.outcome
  }
  for (const device of ['failed', 'silent', 'unasked', 'bare']) await world.device(device, 0)
  world.edge.wipeResult = { status: 'failed', detail: 'flash is read-only' }
  assert.equal(await outcomeOf('failed', {}), 'failed')
  world.edge.wipeResult = undefined
  assert.equal(await outcomeOf('silent', { wipeTimeoutMs: 50 }), 'timeout')
  assert.equal(await outcomeOf('unasked', { wipe: false }), 'not-asked')
  await world.credentials.give(TENANT, 'bare', 0)
  assert.equal(await outcomeOf('bare', {}), 'no-certificate')
})

it('waits for an edge however long it is away, and says so', async (t) => {
  const world = await LeavingWorld.open(t)
  const service = await world.start({ askAgainMs: 100 })
  await world.device('d1', 0)
  world.edge.isAway = true
  await service.decommission(TENANT, 'd1', {}, BY)
  await until('it says what it waits for', async () => (await service.get(TENANT, 'd1')).trouble !== null)
  assert.equal((await service.get(TENANT, 'd1')).step, 'cancel')
  await assert.rejects(service.receipt(TENANT, 'd1'), ConflictError)
  world.edge.isAway = false
  const job = await finished(service, 'd1')
  assert.equal(job.trouble, null)
})

it('goes on where any crash cut it off, and does nothing twice', async (t) => {
  const world = await LeavingWorld.open(t)
  // Timers of the platform do not keep a process alive, and nor does what was killed.
  const hold = new MessageChannel()
  hold.port1.ref()
  hold.port1.start()
  t.after(() => hold.port1.close())
  const service = new Decommission(world.options())
  await service.start()
  let crashes = 0
  for (let at = 1; ; at++) {
    const device = `d${at}`
    await world.device(device, 12)
    const crashed = await crashAt(world, device, at)
    const work = await world.work()
    await until('begun', async () => {
      // A crash before the first write leaves nothing behind, and it is asked for again.
      await service.get(TENANT, device).catch(() => service.decommission(TENANT, device, { readings: 'erase' }, BY))
      return true
    })
    const job = await finished(service, device)
    assert.deepEqual(
      job.steps.map(({ name }) => name),
      STEPS,
      `crashed at ${at}`,
    )
    const statement = await statementOf(service, device)
    assert.deepEqual([resultOf(statement, 'readings')?.readings, resultOf(statement, 'readings')?.left], [12, 0], `crashed at ${at}`)
    assert.equal(resultOf(statement, 'revoke')?.revoked, 2, `crashed at ${at}`)
    assert.equal((await world.registry.getDevice(TENANT, device)).state, 'decommissioned')
    assert.deepEqual(
      (await world.registry.history(TENANT, device)).map(({ to }) => to).slice(0, 2),
      ['decommissioned', 'decommissioning'],
      'each transition once',
    )
    await work.stop()
    if (!crashed) break
    crashes++
  }
  t.diagnostic(`${crashes} places to crash at`)
  assert.ok(crashes > 20)
})

/** Runs until the `at`th write, which happens, and after which nothing of this run does anything any more. False when it got done before. */
async function crashAt(world: LeavingWorld, device: string, at: number): Promise<boolean> {
  const dying = killedAt(at)
  const mortals = dying.wrapAll(world.options())
  const service = new Decommission(mortals)
  const work = new DecommissionWork(mortals)
  await service.start()
  await work.start()
  const asked = service.decommission(TENANT, device, { readings: 'erase' }, BY)
  const over = asked.then(() => finished(service, device)).then(() => 'done' as const)
  const crashed = (await Promise.race([over, dying.died])) === 'died'
  if (!crashed) dying.spare()
  await dying.leaveGroups()
  if (!crashed) await work.stop()
  return crashed
}

const KILLS = [1, 2, 5, 8, 11, 14, 17, 20, 23, 26]

it('survives kill -9 wherever it strikes: the next start leads the device out', async (t) => {
  const folder = await temporaryFolder(t)
  const program = fileURLToPath(new URL('./testing/killed-child.js', import.meta.url))
  const receipts = new Map<string, string>()
  for (const at of [...KILLS, 0]) {
    const child = spawn(process.execPath, [program, folder, String(at)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    let said = ''
    for await (const chunk of child.stdout) said += String(chunk)
    const [, signal] = (await exited) as [number | null, string | null]
    assert.equal(signal, at === 0 ? null : 'SIGKILL', `${at}: ${said}`)
    for (const [, device, receipt] of said.matchAll(/^out (\S+) (\S+)$/gm)) {
      assert.equal(receipts.get(device as string) ?? receipt, receipt, 'a receipt is signed once')
      receipts.set(device as string, receipt as string)
    }
  }
  // Killed right after the first write: the job is there, and nobody was told yet.
  assert.deepEqual([...receipts.keys()].sort(), KILLS.map((at) => `d${at}`).sort())
  for (const receipt of receipts.values()) {
    const { steps } = JSON.parse(Buffer.from(receipt.split('.')[1] ?? '', 'base64url').toString()) as Statement
    assert.deepEqual(
      steps.map(({ name }) => name),
      STEPS.slice(0, -1),
    )
    assert.deepEqual([resultOf({ steps }, 'readings')?.readings, resultOf({ steps }, 'readings')?.left], [12, 0])
    assert.equal(resultOf({ steps }, 'revoke')?.revoked, 2)
  }
})

it('transfers a device: history moves with it, both tenants know, its old id is gone and its new one has no certificate', async (t) => {
  const world = await LeavingWorld.open(t)
  const service = await world.start({ movePageReadings: 7 })
  await world.device('d1', 20)
  await world.device('taken', 0, 'acme')
  const to = { tenant: 'acme', device: 'd1' }
  await assert.rejects(service.transfer(TENANT, 'd1', { to: { tenant: TENANT, device: 'x' }, readings: 'move' }, BY), ConflictError)
  await assert.rejects(service.transfer(TENANT, 'd1', { to: { ...to, device: 'taken' }, readings: 'move' }, BY), /never used twice/)
  const before = (await world.series.range({ tenant: TENANT, device: 'd1', limit: 100 })).items
  await service.transfer(TENANT, 'd1', { to, readings: 'move', why: 'sold' }, BY)
  await finished(service, 'd1')
  assert.deepEqual((await world.series.range({ tenant: 'acme', device: 'd1', limit: 100 })).items, before)
  assert.equal(await world.series.count(TENANT, 'd1'), 0)
  assert.equal((await world.registry.getDevice(TENANT, 'd1')).state, 'decommissioned')
  assert.equal((await world.registry.getDevice('acme', 'd1')).state, 'registered')
  const statement = await statementOf(service, 'd1')
  assert.deepEqual([resultOf(statement, 'readings')?.moved, resultOf(statement, 'wipe')?.outcome], [20, 'not-asked'])
  assert.deepEqual(resultOf(statement, 'admit'), { outcome: 'registered', ...to })
  const reasons = (resultOf(statement, 'revoke')?.certificates as { reason: string }[]).map(({ reason }) => reason)
  assert.deepEqual(reasons, ['affiliationChanged', 'affiliationChanged'])
  const acts = world.acts.filter(({ action }) => action === 'device.transfer' || action === 'device.receive')
  assert.deepEqual(
    acts.map(({ tenant, action, actor, why }) => [tenant, action, actor, why]),
    [
      [TENANT, 'device.transfer', BY, 'sold'],
      ['acme', 'device.receive', BY, 'sold'],
    ],
  )
  await assert.rejects(
    service.transfer('acme', 'd1', { to: { tenant: TENANT, device: 'd1' }, readings: 'keep' }, BY),
    /decommissioned.*never used twice/,
  )
})

it('leaves history behind or erases it with a transfer, as asked', async (t) => {
  const world = await LeavingWorld.open(t)
  const service = await world.start()
  for (const [device, readings, left] of [
    ['stays', 'keep', 6],
    ['erased', 'erase', 0],
  ] as const) {
    await world.device(device, 6)
    await service.transfer(TENANT, device, { to: { tenant: 'acme', device }, readings }, BY)
    await finished(service, device)
    assert.equal(await world.series.count(TENANT, device), left)
    assert.equal(await world.series.count('acme', device), 0)
  }
})
