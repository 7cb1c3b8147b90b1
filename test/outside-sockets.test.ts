import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outsideSockets } from './testing/outside-sockets.ts'

test('a trace of sockets tells this machine from others, whole calls from those that another thread interrupts', () => {
  const { calls, outside } = outsideSockets(
    [
      '12 listen(20, 511) = 0',
      '12 connect(21, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EINPROGRESS (Operation now in progress)',
      '12 connect(22, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file or directory)',
      '13 connect(23, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
      '13 connect(24, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("93.184.215.14")}, 16 <unfinished ...>',
      '12 sendto(25, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.2")}, 16) = 1',
      '12 connect(26, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2606:4700::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
      '12 +++ exited with 0 +++',
    ].join('\n'),
  )
  assert.equal(calls, 7)
  assert.deepEqual(
    outside.map((line) => line.slice(0, 13)),
    ['13 connect(24', '12 sendto(25,', '12 connect(26'],
  )
})
