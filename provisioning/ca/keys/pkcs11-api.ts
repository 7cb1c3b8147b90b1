/*
 * The part of the optional package `pkcs11js` (a direct binding of PKCS#11 2.40) that is used here, so that types do not need it installed.
 */

export type Handle = Buffer

export interface Attribute {
  type: number
  value?: Buffer | string | number | boolean
}

export interface Pkcs11 {
  load(path: string): void
  C_Initialize(): void
  C_Finalize(): void
  C_GetSlotList(tokenPresent: boolean): Handle[]
  C_GetTokenInfo(slot: Handle): { label: string }
  C_OpenSession(slot: Handle, flags: number): Handle
  C_CloseSession(session: Handle): void
  C_Login(session: Handle, userType: number, pin: string): void
  C_FindObjectsInit(session: Handle, template: Attribute[]): void
  C_FindObjects(session: Handle, objectsMax: number): Handle[]
  C_FindObjectsFinal(session: Handle): void
  C_GetAttributeValue(session: Handle, object: Handle, template: Attribute[]): { type: number; value: Buffer }[]
  C_GenerateKeyPairAsync(
    session: Handle,
    mechanism: { mechanism: number; parameter: null },
    publicKey: Attribute[],
    privateKey: Attribute[],
  ): Promise<{ publicKey: Handle; privateKey: Handle }>
  C_SignInit(session: Handle, mechanism: { mechanism: number; parameter: null }, key: Handle): void
  C_SignAsync(session: Handle, content: Buffer, space: Buffer): Promise<Buffer>
  close(): void
}

/** PKCS #11 Cryptographic Token Interface Base Specification 2.40, appendix B, and Current Mechanisms, appendix A. */
export const CK = {
  SERIAL_SESSION: 0x4,
  RW_SESSION: 0x2,
  USER: 1,
  CLASS: 0x0,
  TOKEN: 0x1,
  PRIVATE: 0x2,
  LABEL: 0x3,
  KEY_TYPE: 0x100,
  ID: 0x102,
  SENSITIVE: 0x103,
  SIGN: 0x108,
  VERIFY: 0x10a,
  MODULUS: 0x120,
  MODULUS_BITS: 0x121,
  PUBLIC_EXPONENT: 0x122,
  EXTRACTABLE: 0x162,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
  PUBLIC_KEY: 0x2,
  PRIVATE_KEY: 0x3,
  RSA: 0x0,
  EC: 0x3,
  RSA_KEY_PAIR_GEN: 0x0,
  SHA256_RSA_PKCS: 0x40,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  ALREADY_INITIALIZED: 0x191,
  ALREADY_LOGGED_IN: 0x100,
} as const
