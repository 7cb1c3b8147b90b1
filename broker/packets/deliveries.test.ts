import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ANSWER_PUBREL, Deliveries, IGNORE, WRONG_ACKNOWLEDGEMENT } from './deliveries.ts'
import { PUBACK, PUBCOMP, PUBREC } from './packet-types.ts'

describe('deliveries', () => {
  it('are numbered from 1 in a clean session, whatever the broker counts from [MQTT-2.3.1-1]', () => {
    const deliveries = new Deliveries()
    assert.deepEqual(
      [65_534, 65_535, 1, 2].map((id) => deliveries.published(id, 1)),
      [1, 2, 3, 4],
    )
    assert.equal(deliveries.acknowledged(PUBACK, 2), 65_535)
    assert.equal(deliveries.acknowledged(PUBACK, 2), IGNORE)
    assert.equal(deliveries.size, 3)
  })

  it('never use an id that is in use [MQTT-2.3.1-4]', () => {
    const deliveries = new Deliveries()
    assert.equal(deliveries.published(500, 1), 1)
    for (let i = 0; i < 65_534; i++) {
      const brokerId = (1_000 + i) % 65_535 || 65_535
      if (brokerId === 500) continue
      assert.notEqual(deliveries.published(brokerId, 1), 1)
    }
    for (let id = 2; id <= 65_535; id++) deliveries.acknowledged(PUBACK, id)
    assert.equal(deliveries.size, 1)
    assert.equal(deliveries.published(7, 1), 65_535)
    assert.equal(deliveries.published(8, 1), 2)
  })

  it('stay bounded when nothing is ever acknowledged', () => {
    const deliveries = new Deliveries()
    for (let i = 0; i < 200_000; i++) deliveries.published((i % 65_535) + 1, 1 + (i % 2))
    assert.equal(deliveries.size, 65_535)
  })

  it('keep the broker id in a persistent session [MQTT-4.4.0-1]', () => {
    const deliveries = new Deliveries()
    deliveries.renumber = false
    assert.equal(deliveries.published(777, 2), 777)
    assert.equal(deliveries.acknowledged(PUBREC, 777), 777)
    assert.deepEqual(deliveries.released(777), { deviceId: 777, answers: true })
    assert.equal(deliveries.acknowledged(PUBCOMP, 777), 777)
  })

  it('know a PUBREL that the broker repeats on a new connection', () => {
    const deliveries = new Deliveries()
    deliveries.renumber = false
    assert.deepEqual(deliveries.released(9), { deviceId: 9, answers: false })
    assert.equal(deliveries.acknowledged(PUBACK, 9), WRONG_ACKNOWLEDGEMENT)
    assert.equal(deliveries.acknowledged(PUBCOMP, 9), 9)
  })

  it('answer a repeated PUBREC only when the PUBREL is out', () => {
    const deliveries = new Deliveries()
    const id = deliveries.published(40, 2)
    assert.equal(deliveries.acknowledged(PUBREC, id), 40)
    assert.equal(deliveries.acknowledged(PUBREC, id), IGNORE)
    assert.equal(deliveries.acknowledged(PUBCOMP, id), WRONG_ACKNOWLEDGEMENT)
    assert.deepEqual(deliveries.released(40), { deviceId: id, answers: true })
    assert.equal(deliveries.acknowledged(PUBREC, id), ANSWER_PUBREL)
    assert.equal(deliveries.acknowledged(PUBCOMP, id), 40)
    assert.equal(deliveries.acknowledged(PUBREC, id), ANSWER_PUBREL)
  })
})
