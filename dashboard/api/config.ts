import { Type, type Static } from 'typebox'

/** The operator API and the page. */
export const ApiConfigSchema = Type.Object(
  {
    host: Type.String({ default: '127.0.0.1', minLength: 1, env: 'FLEETPULSE_API_HOST', description: 'Address of the API and page; loopback until told otherwise.' }),
    port: Type.Integer({ default: 8080, minimum: 0, maximum: 65_535, env: 'FLEETPULSE_API_PORT', description: 'Port of the API and page; 0 takes any free one.' }),
    bodyBytesMax: Type.Integer({ default: 262_144, minimum: 1_024, maximum: 16_777_216, description: 'Bytes of a request body.' }),
    pageItemsDefault: Type.Integer({ default: 100, minimum: 1, maximum: 10_000, description: 'Items in a list when the request does not say.' }),
    pageItemsMax: Type.Integer({ default: 1_000, minimum: 1, maximum: 10_000, description: 'Items in a list at most; bounds memory and time of one request.' }),
    sessionLifetimeMs: Type.Integer({ default: 12 * 3_600_000, minimum: 60_000, maximum: 30 * 86_400_000, description: 'How long a browser stays logged in, in ms.' }),
    sessionsMax: Type.Integer({ default: 10_000, minimum: 10, maximum: 10_000_000, description: 'Sessions of browsers, programs and agents kept, about 1 kB each; beyond it the one that would end first is logged out.' }),
    sessionRefreshesMax: Type.Integer({ default: 1_000, minimum: 1, maximum: 10_000, description: 'Refresh tokens one session may use up, each remembered by 64 bytes so that using one again is seen; then one logs in anew.' }),
    accessTokenLifetimeMs: Type.Integer({ default: 10 * 60_000, minimum: 10_000, maximum: 86_400_000, description: 'How long an access token of POST /auth/token is good, in ms: as long as a stolen one could be used, unless its session is ended.' }),
    agentTokenLifetimeMs: Type.Integer({ default: 3_600_000, minimum: 10_000, maximum: 30 * 86_400_000, description: 'How long an access token of an agent is good, in ms; retiring the agent ends it at once.' }),
    tokenKeyLifetimeMs: Type.Integer({ default: 30 * 86_400_000, minimum: 60_000, maximum: 3_650 * 86_400_000, description: 'How long one key signs access tokens, in ms; then a new one does, and what the old one signed lives out its time.' }),
    tokenIssuer: Type.String({ default: 'fleetpulse', minLength: 1, maxLength: 200, description: '`iss` of access tokens; those of another issuer are refused.' }),
    tokenAudience: Type.String({ default: 'fleetpulse-api', minLength: 1, maxLength: 200, description: '`aud` of access tokens; those for another audience are refused.' }),
    apiKeysMax: Type.Integer({ default: 1_000, minimum: 1, maximum: 1_000_000, description: 'API keys of one tenant; revoked and expired ones make room.' }),
    apiKeyLifetimeMs: Type.Integer({ default: 90 * 86_400_000, minimum: 60_000, maximum: 3_650 * 86_400_000, description: 'How long an API key is good when the request does not say, in ms.' }),
    apiKeyLifetimeMaxMs: Type.Integer({ default: 366 * 86_400_000, minimum: 60_000, maximum: 3_650 * 86_400_000, description: 'How long an API key may be good, in ms.' }),
    loginsPerMinuteMax: Type.Integer({ default: 30, minimum: 1, maximum: 10_000, description: 'Failed logins and unknown tokens per address and minute, in all processes together; more are answered 429.' }),
    liveClientsMax: Type.Integer({ default: 200, minimum: 1, maximum: 10_000, description: 'Open live streams; each costs a connection and a queue.' }),
    liveQueueMax: Type.Integer({ default: 1_000, minimum: 10, maximum: 100_000, description: 'Events waiting for one slow live client; beyond it the stream is closed and the page reconnects.' }),
    liveReadingsPerSecondMax: Type.Integer({ default: 50, minimum: 1, maximum: 10_000, description: 'Readings per second sent on one live stream; the page draws no more, the store has all.' }),
    socketsMax: Type.Integer({ default: 200, minimum: 1, maximum: 10_000, description: 'Open WebSockets of conversations, 1 to 10000; each costs a connection and a page of messages.' }),
    socketPingMs: Type.Integer({ default: 5_000, minimum: 100, maximum: 600_000, description: 'ms, 100 to 600000, between two pings on a WebSocket: who did not answer the last one is cut, and whoever may watch no more is told.' }),
    socketStallMs: Type.Integer({ default: 10_000, minimum: 100, maximum: 600_000, description: 'ms, 100 to 600000, that a WebSocket may take nothing of what is sent to it; then it is closed with code 4408.' }),
    idempotencyLifetimeMs: Type.Integer({ default: 86_400_000, minimum: 60_000, maximum: 30 * 86_400_000, description: 'How long an answer is kept for its Idempotency-Key, in ms.' }),
    requestTimeoutMs: Type.Integer({ default: 30_000, minimum: 1_000, maximum: 600_000, description: 'ms a client may take to send a request.' }),
    logScanMax: Type.Integer({ default: 20_000, minimum: 100, maximum: 1_000_000, description: 'Log records looked through for one page of GET /rejected or GET /windows.' }),
  },
  { additionalProperties: false, default: {} },
)
export type ApiConfig = Static<typeof ApiConfigSchema>
