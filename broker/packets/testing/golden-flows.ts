import type { GoldenCase, Step } from './golden-case.ts'
import { acknowledge, publish, suback, subscribe } from './wire.ts'

const PUBACK = acknowledge(0x40, 1)
const PUBREC = acknowledge(0x50, 1)
const PUBREL = acknowledge(0x62, 1)
const PUBCOMP = acknowledge(0x70, 1)

/** A case in which the device subscribes, gets one message under packet id 1 and goes on from there. */
function delivered(name: string, qos: 1 | 2, then: GoldenCase['then'], ...steps: readonly Step[]): GoldenCase {
  const topic = `golden/${name}`
  return {
    name,
    hello: 'clean',
    steps: [
      { send: subscribe(1234, [topic, qos]) },
      { receive: suback(1234, qos) },
      { deliver: { topic, qos, payload: 'message' } },
      { receive: publish(topic, 'message', { qos, id: 1 }) },
      ...steps,
    ],
    then,
  }
}

/** §4.3: what a device may answer to a delivery. */
export const FLOW_CASES: readonly GoldenCase[] = [
  {
    name: 'QoS 0 to oneself',
    hello: 'clean',
    steps: [
      { send: subscribe(8, ['self', 1]) },
      { receive: suback(8, 1) },
      { send: publish('self', 'message') },
      { receive: publish('self', 'message') },
    ],
    then: 'open',
  },
  {
    name: 'DUP of the publisher is not passed on [MQTT-3.3.1-3]',
    hello: 'clean',
    steps: [
      { send: subscribe(8, ['again', 1]) },
      { receive: suback(8, 1) },
      { deliver: { topic: 'again', qos: 1, payload: 'm', dup: true } },
      { receive: publish('again', 'm', { qos: 1, id: 1 }) },
    ],
    then: 'open',
  },
  delivered('QoS 1 PUBACK', 1, 'open', { send: PUBACK }),
  delivered('QoS 1 PUBACK twice', 1, 'open', { send: PUBACK }, { send: PUBACK }),
  delivered('QoS 1 PUBREC', 1, 'wrongAcknowledgement', { send: PUBREC }),
  delivered('QoS 1 PUBCOMP', 1, 'wrongAcknowledgement', { send: PUBCOMP }),
  delivered('QoS 2 whole', 2, 'open', { send: PUBREC }, { receive: PUBREL }, { send: PUBCOMP }),
  delivered('QoS 2 PUBACK', 2, 'wrongAcknowledgement', { send: PUBACK }),
  delivered('QoS 2 PUBCOMP', 2, 'wrongAcknowledgement', { send: PUBCOMP }),
  delivered('QoS 2 PUBREC PUBACK', 2, 'wrongAcknowledgement', { send: PUBREC }, { receive: PUBREL }, { send: PUBACK }),
  delivered(
    'QoS 2 PUBREC twice',
    2,
    'open',
    { send: PUBREC },
    { receive: PUBREL },
    { send: PUBREC },
    { receive: PUBREL },
    { send: PUBCOMP },
  ),
]
