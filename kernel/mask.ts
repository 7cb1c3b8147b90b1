/** What a secret looks like, most particular first, and what stands in its place. */
const KINDS: readonly [shape: RegExp, shown: string][] = [
  // From its first line to its last, or to where it was cut off; in JSON its line ends are written as \n. No quote: JSON stays JSON.
  [
    /-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?:\\[nr]|-(?!----)|[A-Za-z0-9+/=:,\s])*(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?/g,
    '[PRIVATE_KEY]',
  ],
  [/(?<![A-Za-z0-9])sk-ant-[A-Za-z0-9_-]{20,}/g, '[ANTHROPIC_KEY]'],
  // sk-…, sk-proj-…, sk-svcacct-…, sk-admin-…
  [/(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}/g, '[OPENAI_KEY]'],
  [/(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,}/g, '[GOOGLE_KEY]'],
  [/(?<![A-Za-z0-9])xai-[A-Za-z0-9_-]{20,}/g, '[XAI_KEY]'],
  [/(?<![A-Za-z0-9])pplx-[A-Za-z0-9_-]{20,}/g, '[PERPLEXITY_KEY]'],
  [/(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])/g, '[AWS_KEY]'],
  [/(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})/g, '[GITHUB_TOKEN]'],
  [/(?<![A-Za-z0-9])lsv2_[a-z]{2}_[A-Za-z0-9_]{20,}/g, '[LANGSMITH_KEY]'],
  [/(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*/g, '[JWT]'],
  // Ours: API keys, refresh tokens and the cookies of sessions.
  [/(?<![A-Za-z0-9])fp[krs]_[0-9a-z]{26}_[A-Za-z0-9_-]{20,}/g, '[FLEETPULSE_KEY]'],
  [/(?<![A-Za-z0-9])whsec_[A-Za-z0-9+/=]{16,}/g, '[WEBHOOK_SECRET]'],
  [/(\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/._~=-]{16,}/gi, '$1[TOKEN]'],
  // RFC 3986 §3.2.1: the password of an address.
  [/([a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@"'\\]{0,128}:)[^\s/@"'\\]{1,256}(?=@)/gi, '$1[masked]'],
]

/** A character that every kind above needs: text without any of these is given back as it is. */
const MAY_HOLD = /sk-|AIza|xai-|pplx-|AKIA|ASIA|gh[pousr]_|github_pat_|lsv2_|eyJ|fp[krs]_|whsec_|bearer|basic|PRIVATE KEY|:\/\//i

/**
 * The same text without keys, tokens and passwords that can be told by their shape. The one choke point for whatever leaves the process
 * as text about itself: log lines, messages of errors, dead-letter causes, problem details, notices, what agents say. Secrets of ours are
 * typed (kernel/secret.ts) and never get here; this is for those that came in somebody else's text.
 */
export function maskSecrets(text: string): string {
  if (!MAY_HOLD.test(text)) return text
  return KINDS.reduce((masked, [shape, shown]) => masked.replace(shape, shown), text)
}
