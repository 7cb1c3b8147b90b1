/** A public key as JSON Web Key (RFC 7517, RFC 8037), with its thumbprint (RFC 7638) as `kid`. */
export interface PublicJwk {
  kty: 'OKP'
  crv: 'Ed25519'
  x: string
  kid: string
  alg: 'EdDSA'
  use: 'sig'
}

/** Signs what has to be believed away from the platform: checkpoints of the audit trail, receipts. */
export interface StatementSigner {
  /** The statement as JWS in compact form (RFC 7515), signed with EdDSA; `type` becomes its `typ`, the payload is canonical JSON (RFC 8785). */
  sign(type: string, statement: object): Promise<string>
  /** Every public key that ever signed, the present one first. */
  publicKeys(): Promise<PublicJwk[]>
}
