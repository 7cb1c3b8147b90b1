import { AuthorityDesk } from '../../provisioning/ca/authority-desk.ts'
import { AuthorityOrders } from '../../provisioning/ca/authority-orders.ts'
import { CertificateAuthority } from '../../provisioning/ca/authority.ts'
import { Certificates } from '../../provisioning/certificates.ts'
import { EnrolmentTokens } from '../../provisioning/doors/enrolment-tokens.ts'
import { LocalOperatorDoor, OperatorDesk } from '../../provisioning/doors/operator-door.ts'
import { OcspResponder } from '../../provisioning/revocation/ocsp-responder.ts'
import { Claims, signerOf } from '../../provisioning/doors/claims.ts'
import { DeskClient } from '../../provisioning/doors/desk-client.ts'
import { Doors } from '../../provisioning/doors/doors.ts'
import { FactoryAuthorities } from '../../provisioning/trust/factory-authorities.ts'
import type { StatusSource } from '../../provisioning/revocation/certificate-status.ts'
import { StapleDesk } from '../../provisioning/revocation/staple-desk.ts'
import { Staples } from '../../provisioning/revocation/staples.ts'
import { PkiHttp } from '../../provisioning/revocation/pki-http.ts'
import { RevocationPolicy } from '../../provisioning/revocation/revocation-policy.ts'
import { RevocationList } from '../../provisioning/revocation/revocation-list.ts'
import { RemoteAuthority } from '../../provisioning/ca/remote-authority.ts'
import { ServerCertificate } from '../../provisioning/ca/server-certificate.ts'
import { SigningDesk } from '../../provisioning/ca/signing-desk.ts'
import { keySealer } from '../key-sealer.ts'
import type { ModuleTable } from '../module.ts'
import { STORES } from './stores.ts'

/** The certificate authority, what it publishes, and the doors through which devices enrol. */
export const TRUST_MODULES = {
  authority: {
    targets: ['registry'],
    needs: [],
    build: (context, parts) =>
      new CertificateAuthority({
        ...context,
        dataDir: context.dataDirectory,
        config: context.config.provisioning,
        pkiUrl: () => parts.pkiHttp.publicUrl,
      }),
  },
  certificates: {
    targets: ['registry'],
    needs: [...STORES, 'auditTrail'],
    build: (context, parts) => new Certificates({ ...context, ...parts }),
  },
  revocationList: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'certificates'],
    build: (context, parts) =>
      new RevocationList({ ...context, ...parts, config: context.config.provisioning, pkiUrl: () => parts.pkiHttp.publicUrl }),
  },
  ocspResponder: {
    targets: ['registry'],
    needs: ['authority', 'certificates'],
    build: (context, parts) => {
      // The desk is made later, and asked when somebody asks.
      const servers: StatusSource = { statusOf: (issuer, serial) => parts.stapleDesk.statusOf(issuer, serial) }
      return new OcspResponder({ ...context, ...parts, config: context.config.provisioning, sources: [parts.certificates, servers] })
    },
  },
  pkiHttp: {
    targets: ['registry'],
    needs: ['authority', 'revocationList', 'ocspResponder'],
    build: (context, parts) => new PkiHttp({ ...context, ...parts, config: context.config.provisioning }),
  },
  revocationPolicy: {
    targets: ['registry'],
    needs: [...STORES, 'auditTrail', 'certificates', 'registry'],
    build: (context, parts) =>
      new RevocationPolicy({ ...context, ...parts, registrar: parts.registry, config: context.config.provisioning }),
  },
  serverCertificate: {
    targets: ['registry'],
    needs: ['authority', 'pkiHttp'],
    build: (context, parts) =>
      new ServerCertificate({ ...context, ...parts, config: context.config.provisioning, keySealer: keySealer(context) }),
  },
  stapleDesk: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'ocspResponder'],
    build: (context, parts) => new StapleDesk({ ...context, ...parts, config: context.config.provisioning }),
  },
  staples: {
    targets: ['registry'],
    needs: ['documents', 'serverCertificate'],
    build: (context, parts) => new Staples({ ...context, ...parts, config: context.config.provisioning }),
  },
  signingDesk: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'pkiHttp'],
    build: (context, parts) => new SigningDesk({ ...context, ...parts, config: context.config.provisioning }),
  },
  authorityDesk: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'certificates', 'auditTrail'],
    build: (context, parts) => new AuthorityDesk({ ...context, ...parts, config: context.config.provisioning }),
  },
  authorityOrders: {
    targets: [],
    needs: ['documents'],
    build: (context, parts) => new AuthorityOrders({ ...context, ...parts, config: context.config.provisioning }),
  },
  remoteAuthority: {
    targets: ['edge'],
    unless: 'registry',
    needs: ['documents'],
    build: (context, parts) =>
      new RemoteAuthority({
        ...context,
        ...parts,
        edgeId: context.processId,
        dataDir: context.dataDirectory,
        config: context.config.provisioning,
      }),
  },
  edgeCertificate: {
    targets: ['edge'],
    unless: 'registry',
    needs: ['remoteAuthority'],
    build: (context, parts) =>
      new ServerCertificate({
        ...context,
        authority: parts.remoteAuthority,
        config: context.config.provisioning,
        keySealer: keySealer(context),
      }),
  },
  edgeStaples: {
    targets: ['edge'],
    unless: 'registry',
    needs: ['documents', 'edgeCertificate'],
    build: (context, parts) =>
      new Staples({ ...context, ...parts, serverCertificate: parts.edgeCertificate, config: context.config.provisioning }),
  },
  enrolmentTokens: {
    targets: ['registry'],
    needs: ['documents', 'registry'],
    build: (context, parts) =>
      new EnrolmentTokens({ ...context, ...parts, registrar: parts.registry, config: context.config.provisioning }),
  },
  factoryAuthorities: {
    targets: ['registry'],
    needs: [...STORES, 'certificates', 'registry'],
    build: (context, parts) =>
      new FactoryAuthorities({
        ...context,
        ...parts,
        config: context.config.provisioning,
        enrolmentConfig: context.config.enrolment,
        hasType: (tenant, type) => parts.registry.hasType(tenant, type),
      }),
  },
  deskClient: {
    targets: ['edge'],
    needs: ['documents'],
    build: (context, parts) =>
      new DeskClient({ ...context, ...parts, edgeId: context.processId, enrolmentConfig: context.config.enrolment }),
  },
  claims: {
    targets: ['registry'],
    needs: [...STORES, 'certificates', 'registry', 'deskClient'],
    build: (context, parts) =>
      new Claims({
        ...context,
        ...parts,
        sign: context.targets.includes('registry') ? signerOf(parts.authority) : (claim) => parts.deskClient.signClaim(claim),
        config: context.config.provisioning,
        enrolmentConfig: context.config.enrolment,
        hasType: (tenant, type) => parts.registry.hasType(tenant, type),
      }),
  },
  doors: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'certificates', 'enrolmentTokens', 'factoryAuthorities', 'claims', 'registry'],
    build: (context, parts) => {
      const { provisioning: config, enrolment: enrolmentConfig } = context.config
      return new Doors({ ...context, ...parts, config, enrolmentConfig, registrar: parts.registry })
    },
  },
  enrolment: {
    targets: ['registry'],
    needs: ['doors'],
    build: (_context, parts) => parts.doors.enrolment,
  },
  operatorDesk: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'enrolment'],
    build: (context, parts) =>
      new OperatorDesk({ ...context, ...parts, door: new LocalOperatorDoor(parts), config: context.config.provisioning }),
  },
} satisfies Partial<ModuleTable>
