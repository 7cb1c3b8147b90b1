import { connect, field, publish, subscribe, unsubscribe } from './wire.ts'
import { first, sent, type GoldenCase, type ViolationName } from './golden-case.ts'
import { connack, suback, acknowledge } from './wire.ts'

/** Texts that must not be: §1.5.3. */
const BAD_TEXTS: readonly (readonly [string, string, ViolationName])[] = [
  ['U+0000 inside', '746f700074', 'textNull'],
  ['U+0000 at the end', '746f7000', 'textNull'],
  ['a high surrogate U+D800', '746feda080', 'textInvalid'],
  ['a low surrogate U+DFFF', '746fedbfbf', 'textInvalid'],
  ['a surrogate pair in CESU-8', 'eda081edb080', 'textInvalid'],
  ['an overlong slash of two bytes', '74c0af', 'textInvalid'],
  ['an overlong slash of three bytes', 'e080af', 'textInvalid'],
  ['an overlong U+FFFF of four bytes', 'f08fbfbf', 'textInvalid'],
  ['a point above U+10FFFF', 'f4908080', 'textInvalid'],
  ['a lead byte 0xF5', 'f5808080', 'textInvalid'],
  ['a lone continuation byte', '7480', 'textInvalid'],
  ['a character cut short at the end', '74e282', 'textInvalid'],
  ['a lead byte followed by ASCII', 'e2287a', 'textInvalid'],
  ['0xFF', '74ff', 'textInvalid'],
  ['U+0001', '746f700170', 'textControl'],
  ['U+001F', '746f701f70', 'textControl'],
  ['U+007F', '746f707f70', 'textControl'],
  ['U+0080', '74c280', 'textControl'],
  ['U+009F', '746fc29f70', 'textControl'],
  ['the non-character U+FFFF', '74efbfbf', 'textControl'],
  ['the non-character U+FDD0', '74efb790', 'textControl'],
  ['the non-character U+1FFFE', 'f09fbfbe', 'textControl'],
]

const GOOD_TEXTS: readonly (readonly [string, string])[] = [
  ['an ideograph beyond the basic plane, U+2A6D4', '41f0aa9b94'],
  ['U+FEFF first [MQTT-1.5.3-3]', 'efbbbf61'],
  ['U+00A0', 'c2a0'],
  ['U+D7FF and U+E000', 'ed9fbfee8080'],
  ['U+10FFFD', 'f48fbfbd'],
  ['a space', '612062'],
]

function hex(value: string): Buffer {
  return Buffer.from(value, 'hex')
}

const WILL = 0x06
const USER = 0x82

/** Every text a device can send, with every bad and some good content. */
export const TEXT_CASES: readonly GoldenCase[] = [
  ...BAD_TEXTS.flatMap(([what, content, then]) => [
    first(`client id with ${what}`, connect({ clientId: hex(content) }), then),
    first(`will topic with ${what}`, connect({ flags: WILL, rest: Buffer.concat([field(hex(content)), field('gone')]) }), then),
    first(`user name with ${what}`, connect({ flags: USER, rest: field(hex(content)) }), then),
    sent(`PUBLISH topic with ${what}`, publish(hex(content), 'x'), then),
    sent(`SUBSCRIBE filter with ${what}`, subscribe(5, [hex(content), 0]), then),
    sent(`UNSUBSCRIBE filter with ${what}`, unsubscribe(5, hex(content)), then),
  ]),
  ...GOOD_TEXTS.flatMap(([what, content]) => [
    first(`client id with ${what}`, connect({ clientId: hex(content) }), 'open', connack()),
    first(`user name with ${what}`, connect({ flags: USER, rest: field(hex(content)) }), 'open', connack()),
    first(`will topic with ${what}`, connect({ flags: WILL, rest: Buffer.concat([field(hex(content)), field('')]) }), 'open', connack()),
    sent(`PUBLISH topic with ${what}`, publish(hex(content), 'x', { qos: 1, id: 9 }), 'open', acknowledge(0x40, 9)),
    sent(`SUBSCRIBE filter with ${what}`, subscribe(5, [hex(content), 1]), 'open', suback(5, 1)),
    sent(`UNSUBSCRIBE filter with ${what}`, unsubscribe(5, hex(content)), 'open', acknowledge(0xb0, 5)),
  ]),
]
