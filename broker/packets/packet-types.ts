/** MQTT control packet types (§2.2.1): the high four bits of a packet's first byte. */
export const CONNECT = 1
export const CONNACK = 2
export const PUBLISH = 3
export const PUBACK = 4
export const PUBREC = 5
export const PUBREL = 6
export const PUBCOMP = 7
export const SUBSCRIBE = 8
export const SUBACK = 9
export const UNSUBSCRIBE = 10
export const UNSUBACK = 11
export const PINGREQ = 12
export const PINGRESP = 13
export const DISCONNECT = 14

/** Protocol level of MQTT 3.1 and of MQTT 3.1.1 (§3.1.2.2). */
export const LEVEL_3_1 = 3
export const LEVEL_3_1_1 = 4
