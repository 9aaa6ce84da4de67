import './node-check.js';
export { createReplica, type CreateReplicaOptions } from './create-replica.js';
export { startReplica } from './start.js';
export type { CaughtUpOptions, Replica } from './replica.js';
export type { Consistency, QueryOptions } from './read.js';
export type { Outcome } from './outcome.js';
export type { SessionPosition, SessionToken } from './session.js';
export type { ReplicaOptions, ReplicaPorts } from './options.js';
export {
  describeUpdate,
  parseAcks,
  parseUpdate,
  MAX_ACKS,
  type AckLevel,
  type AsyncUpdate,
  type SyncSettings,
  type SyncUpdate,
  type UpdateOptions,
  type UpdateSettings,
} from './update.js';
export { DEFAULT_LIMITS, type ReplicaLimits } from './limits.js';
export {
  AGREED_LIMITS,
  limitsDifference,
  newestLimits,
  type AgreedLimits,
  type LimitsFrom,
} from './agreed-limits.js';
export { changeAgreedLimits, type ChangeLimitsPorts, type LimitsChange } from './change-limits.js';
export { silentLogger, type Logger } from './logger.js';
export {
  describeTopology,
  parseTopology,
  type Role,
  type Topology,
  type TopologyOptions,
} from './topology.js';
export type {
  DiscardAnswer,
  QuarantineAccess,
  QuarantinedDetail,
  QuarantineList,
  QuarantineQuery,
  RetriedMessage,
  RetryAnswer,
} from './quarantine.js';
export type { CutValue, QuarantinedContent, ShownChange } from './quarantined-content.js';
export { replicatedNames } from './replicated-tables.js';
export type { RecaptureOptions, RecaptureResult } from './recapture.js';
export type { Removal, RemoveMemberOptions } from './remove-member.js';
export type { Acknowledged, Committed, WriteOptions } from './writer.js';
export type { Params, SqlTransaction, Statement } from './statement.js';
export type { ChangesOptions, CommittedChange, RowObject } from './changes.js';
export type { ConflictReport } from './conflicts.js';
export type { MemberStatus, ReplicaStatus, SyncStatus } from './status.js';
export type { LifecycleEvent, LifecycleState } from './lifecycle.js';
export type { Holding, StallReason, Waiting } from './condition.js';
export { problemsOf, type HealthOptions } from './health.js';
export { nextState } from './lifecycle.js';
export type { MailboxProtocol, Ping, QueryRequest, Standing } from './mailbox.js';
export { verifyCluster, type TableDifference, type VerifyOptions, type VerifyResult } from './verify.js';
export type { DifferentRow } from './row-differences.js';
export { CLUSTER_KEY, decodeClusterDocument, type ClusterDocument } from './cluster-document.js';
export { findMember, listMembers, type MemberRecord } from './member-record.js';
export { decodeBeat, type Beat } from './beat.js';
export { beatSubject, mailboxPrefix } from './subjects.js';
