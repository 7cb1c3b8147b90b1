import type { SwaggerOptions } from '@fastify/swagger'

/** The frame of the OpenAPI 3.1 document; paths and schemas come from the routes. */
export function openApiDocument(): SwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Fleetpulse operator API', version: '1', description: 'Devices, readings, anomalies, alerts and their notices. Errors are problem details (RFC 9457); lists are paged by cursor; times are epoch ms. `GET /api/v1/live?device=&readings=&readingsOf=` is a stream of server-sent events (reading, anomaly, alert, device; text/event-stream).', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      servers: [{ url: '/' }],
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'the admin token, an API key, or an access token of POST /auth/token' } } },
      security: [{ token: [] }],
      tags: ['devices', 'readings', 'ledger', 'anomalies', 'alerts', 'incidents', 'rules', 'maintenance', 'routing', 'webhooks', 'certificates', 'provisioning', 'security', 'audit', 'session', 'auth', 'api-keys', 'proposals'].map((name) => ({ name })),
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => (typeof json.$id === 'string' ? json.$id : `schema-${index}`) },
  }
}
