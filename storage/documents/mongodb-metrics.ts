import type { Counter, Histogram } from 'prom-client'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'

export type RequestKind = 'find' | 'get' | 'count' | 'look' | 'save' | 'delete' | 'declare'

/** What is counted of the documents on MongoDB. */
export interface MongodbMetrics {
  requestSeconds: Histogram<'request'>
  retried: Counter
  saved: Counter
  overtaken: Counter
}

export function mongodbMetrics(metrics: Metrics): MongodbMetrics {
  return {
    requestSeconds: metrics.histogram(
      'documents_request_seconds',
      'Requests to MongoDB, tries and waits included; a batch of writes is one.',
      LATENCY_BUCKETS_S,
      ['request'],
    ),
    retried: metrics.counter('documents_retried_requests_total', 'Requests to MongoDB that failed and were tried again.'),
    saved: metrics.counter('documents_saved_documents_total', 'Documents that MongoDB acknowledged.'),
    overtaken: metrics.counter(
      'documents_overtaken_writes_total',
      'Writes that another process overtook on their document, and that began anew.',
    ),
  }
}
