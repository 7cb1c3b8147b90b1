import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { describe, it } from 'node:test'
import { InvalidInputError } from '../../kernel/errors.ts'
import { crossCheckWebhooksConfig } from './config.ts'
import { TargetGuard, TargetRefusedError, type ResolveName, type TargetRules } from '../../kernel/target-guard.ts'
import { webhooksConfig } from './webhooks-testing.ts'

function guard(rules: Partial<TargetRules> = {}, resolve?: ResolveName): TargetGuard {
  const all = { allowHttp: false, allowPrivateTargets: false, allowedTargets: [], ...rules }
  return new TargetGuard(resolve === undefined ? { rules: all } : { rules: all, resolve })
}

function lookup(
  of: TargetGuard,
  name: string,
  options: { all?: boolean; family?: number } = { all: true },
): Promise<string | LookupAddress[]> {
  return new Promise((resolve, reject) => of.lookup(name, options, (error, address) => (error === null ? resolve(address) : reject(error))))
}

const NOT_PUBLIC = [
  ...['127.0.0.1', '127.255.0.9', '10.0.0.1', '172.16.5.5', '192.168.1.1', '169.254.169.254', '100.64.0.1', '0.0.0.0', '224.0.0.1'],
  ...['255.255.255.255', '240.0.0.1', '192.0.2.1', '198.18.0.1', '192.0.0.192', '168.63.129.16', '100.100.100.200'],
  ...[
    '::1',
    '::',
    'fe80::1',
    'fc00::1',
    'fd00:ec2::254',
    'ff02::1',
    'fec0::1',
    '2001:db8::1',
    '::7f00:1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
  ],
  ...['::ffff:a9fe:a9fe', '64:ff9b::7f00:1', '2002:7f00:1::', '2001::1', 'fe80::1%eth0', 'localhost', '127.1', ''],
]

describe('target guard', () => {
  it('refuses every address that is not public', () => {
    for (const address of NOT_PUBLIC) assert.throws(() => guard().checkAddress(address), TargetRefusedError, address)
  })

  it('lets public addresses through, mapped ones too', () => {
    for (const address of ['8.8.8.8', '93.184.216.34', '2606:4700::1111', '::ffff:8.8.8.8']) guard().checkAddress(address)
  })

  it('allows private networks when told to, but never link-local, metadata, multicast or unspecified ones', () => {
    const open = guard({ allowPrivateTargets: true })
    for (const address of ['127.0.0.1', '10.0.0.1', '192.168.1.1', '::1', 'fd12::1', '100.64.0.1', '::ffff:127.0.0.1'])
      open.checkAddress(address)
    for (const address of [
      '169.254.169.254',
      'fe80::1',
      '100.100.100.200',
      '168.63.129.16',
      'fd00:ec2::254',
      '224.0.0.1',
      '0.0.0.0',
      '::',
    ]) {
      assert.throws(() => open.checkAddress(address), TargetRefusedError, address)
    }
  })

  it('allows named networks, and only those', () => {
    const some = guard({ allowedTargets: ['10.1.0.0/16', 'fd12::/16', '169.254.7.7/32'] })
    for (const address of ['10.1.2.3', '::ffff:10.1.2.3', 'fd12::9', '169.254.7.7']) some.checkAddress(address)
    for (const address of ['10.2.0.1', 'fd13::1', '127.0.0.1', '169.254.169.254'])
      assert.throws(() => some.checkAddress(address), TargetRefusedError, address)
  })

  it('refuses a name with one bad address among good ones', async () => {
    const mixed = guard({}, async () => [
      { address: '8.8.8.8', family: 4 },
      { address: '10.0.0.1', family: 4 },
    ])
    await assert.rejects(lookup(mixed, 'mixed.example'), TargetRefusedError)
  })

  it('checks every answer anew and connects to no other: rebinding gains nothing', async () => {
    const answers = ['8.8.8.8', '127.0.0.1']
    const rebinding = guard({}, async () => [{ address: answers.shift() ?? '127.0.0.1', family: 4 }])
    assert.deepEqual(await lookup(rebinding, 'rebind.example'), [{ address: '8.8.8.8', family: 4 }])
    await assert.rejects(lookup(rebinding, 'rebind.example'), TargetRefusedError)
  })

  it('answers in both forms that sockets ask for, and fails for a name without address', async () => {
    const both = guard({}, async () => [
      { address: '2606:4700::1111', family: 6 },
      { address: '8.8.8.8', family: 4 },
    ])
    assert.equal(await lookup(both, 'both.example', {}), '2606:4700::1111')
    assert.equal(await lookup(both, 'both.example', { family: 4 }), '8.8.8.8')
    const none = guard({}, async () => [])
    await assert.rejects(lookup(none, 'none.example'), /has no address/)
  })

  it('refuses URLs that cannot be right, and literal addresses in any spelling', () => {
    for (const url of [
      'ftp://a.example',
      'http://a.example',
      'https://u:p@a.example',
      'nonsense',
      '/relative',
      `https://a.example/${'x'.repeat(2_100)}`,
    ]) {
      assert.throws(() => guard().checkUrl(url), InvalidInputError, url)
    }
    for (const url of [
      'https://127.0.0.1/',
      'https://2130706433/',
      'https://0x7f.1/',
      'https://[::1]/',
      'https://[::ffff:7f00:1]/',
      'https://0177.0.0.1/',
    ]) {
      assert.throws(() => guard().checkUrl(url), TargetRefusedError, url)
    }
    assert.equal(guard().checkUrl('https://hooks.example/a?b#c').href, 'https://hooks.example/a?b')
    assert.equal(guard({ allowHttp: true }).checkUrl('http://hooks.example/').protocol, 'http:')
  })
})

describe('webhooks configuration', () => {
  it('accepts the defaults and names every fault at once', () => {
    assert.deepEqual(crossCheckWebhooksConfig(webhooksConfig(), 'webhooks'), [])
    const faults = crossCheckWebhooksConfig(
      webhooksConfig({ retryMaxMs: 100, totalTimeoutMs: 100, failingInFlightMax: 512, allowedTargets: ['10.0.0.0/8', '10.0.0.1/99'] }),
      'webhooks',
    )
    assert.deepEqual(
      faults.map((fault) => fault.key),
      ['webhooks.retryMaxMs', 'webhooks.totalTimeoutMs', 'webhooks.failingInFlightMax', 'webhooks.allowedTargets.1'],
    )
  })
})
