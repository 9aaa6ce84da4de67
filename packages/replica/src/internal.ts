/**
 * For other packages of Antiphon: not part of the public API, and may change with every release.
 */
export { changeAgreedLimits, type LimitsChange } from './membership/change-limits.js';
export type { MailboxProtocol } from './service/mailbox-protocol.js';
export { writingPrimary } from './config/writing-primary.js';
export { describeSubscription } from './read/subscriptions.js';
export { rowObjects, shapedRows } from './read/row-objects.js';
export type { PlacedResult } from './read/read.js';
export { REPLICA_OPTIONS } from './config/options.js';
export { parseSessionToken } from './state/session.js';
export { revived } from './repair/shown-row.js';
export { revivedConflicts } from './repair/kept-conflicts.js';
export { type Certainty, certaintyOf } from './write/certainty.js';
export { hasRun } from './write/refused.js';
export {
  assertRequestId,
  IS_UNCLEAR,
  isOutcomeId,
  outlastingRequest,
  unknownRequest,
  whyAskNobodyElse,
} from './write/request-id.js';
export { assertStatements } from './write/statement.js';
export { idFrom } from './config/ids.js';
export { handOverAhead } from './replica/hand-over-ahead.js';
export { placedQuery } from './replica/placed-query.js';
export { placedStream, type PlacedStream } from './replica/placed-stream.js';
export { clusterPorts, type ClusterPorts } from './replica/cluster-ports.js';
export { servedBus, type ServedBus, type Takes } from './replica/served-bus.js';
export { guardedLogger, silentLogger } from './config/logger.js';
export { parseTracing } from './tracing/options.js';
export { callSpan, textsOf, type TracedCluster, type TracingSettings } from './tracing/spans.js';
export {
  contextOf,
  flushSpans,
  inContext,
  isUnderTrace,
  type SpanSpec,
  traced,
  traceHeaders,
} from './tracing/tracer.js';
