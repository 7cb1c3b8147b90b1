import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Server } from 'node:https'
import { authorise } from '../contracts/authorisation.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import type { UplinkSink } from '../contracts/uplink.ts'
import { AccessError } from '../kernel/errors.ts'
import type { Clock } from '../kernel/time.ts'
import type { ClientCertificate } from './client-certificate.ts'

export interface TelemetryRouteOptions {
  registryView: RegistryView
  uplinkSink: UplinkSink
  clock: Clock
  telemetryBodyBytesMax: number
  clientOf: (request: FastifyRequest<Record<never, never>, Server>) => ClientCertificate
}

/**
 * `POST /telemetry`: what a device would publish on `devices/{itself}/telemetry`, by HTTPS. 204 after it is durable; 503 when it could
 * not be made so, and the device sends again.
 */
export function addTelemetryRoute(app: FastifyInstance<Server>, options: TelemetryRouteOptions): void {
  const { clock, registryView, uplinkSink, clientOf } = options
  app.post('/telemetry', { bodyLimit: options.telemetryBodyBytesMax }, async (request, reply) => {
    const receivedAt = clock.nowMs()
    const client = clientOf(request)
    if (client.status !== 'verified') {
      throw new AccessError('FORBIDDEN', client.status === 'refused' ? client.reason : 'this needs the client certificate of a device')
    }
    const { tenant, device, serial } = client.credential
    const admission = registryView.admit(tenant, device, serial)
    if (admission.status === 'refused') throw new AccessError('FORBIDDEN', `the device is refused: ${admission.reason}`)
    const principal = { kind: 'device', id: device, tenant, roles: ['device'] } as const
    if (!authorise(principal, 'publish', { tenant, kind: 'topic', id: `devices/${device}/telemetry` })) {
      throw new AccessError('FORBIDDEN', 'the device may not publish telemetry')
    }
    const payload = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    await new Promise<void>((resolve, reject) => {
      uplinkSink.accept({ tenant, device, path: 'telemetry', payload, receivedAt, correlationId: request.id }, (error) => {
        if (error === undefined) resolve()
        else reject(error)
      })
    })
    return reply.code(204).header('x-correlation-id', request.id).send()
  })
}
