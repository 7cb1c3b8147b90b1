/** What most modules write to. */
export const STORES = ['documents', 'eventLog'] as const
