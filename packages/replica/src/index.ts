import './node-check.js';
export { createReplica, type CreateReplicaOptions } from './start/create-replica.js';
export { startReplica } from './start/start.js';
export type { CaughtUpOptions, Replica } from './replica/replica.js';
export type { Consistency, QueryOptions } from './read/read.js';
export type { Outcome } from './read/outcome.js';
export type { SessionPosition, SessionToken } from './state/session.js';
export type { ReplicaOptions, ReplicaPorts } from './config/options.js';
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
} from '@antiphon/core';
export { DEFAULT_LIMITS, type ReplicaLimits } from './config/limits.js';
export {
  AGREED_LIMITS,
  limitsDifference,
  newestLimits,
  type AgreedLimits,
  type LimitsFrom,
} from '@antiphon/core';
export { changeAgreedLimits, type ChangeLimitsPorts, type LimitsChange } from './membership/change-limits.js';
export { silentLogger, type Logger } from './config/logger.js';
export { describeTopology, parseTopology, type Role, type Topology } from '@antiphon/core';
export type {
  DiscardAnswer,
  QuarantineAccess,
  QuarantinedDetail,
  QuarantineList,
  QuarantineQuery,
  RetriedMessage,
  RetryAnswer,
} from './repair/quarantine.js';
export type { CutValue, QuarantinedContent, ShownChange } from './repair/quarantined-content.js';
export { replicatedNames } from '@antiphon/core';
export type { RecaptureOptions, RecaptureResult } from './repair/recapture.js';
export type { Removal, RemoveMemberOptions } from './membership/remove-member.js';
export type { WriteOptions } from './write/writer.js';
export type { Acknowledged, Committed } from './state/write-result.js';
export type { Params, SqlTransaction, Statement } from './write/statement.js';
export type { ChangeOf, ChangesOptions, CommittedChange } from './read/changes.js';
export type { Subscription } from './read/subscription.js';
export { describeSubscription, type SubscribeOptions, type SubscriptionInfo } from './read/subscriptions.js';
export type { SubscriptionStatus } from './state/active-subscriptions.js';
export type { SubscriptionHolder } from '@antiphon/core';
export type { ChangedRow, Integers, LoggedChange, RowObject, SomeColumns } from '@antiphon/core';
export type { ConflictReport } from './state/conflicts.js';
export type { MemberStatus, ReplicaStatus, SyncStatus } from './replica/status.js';
export type { LifecycleEvent, LifecycleState } from './config/lifecycle.js';
export type { Holding, StallReason, Waiting } from './config/standstill.js';
export { problemsOf, type HealthOptions } from './replica/problems.js';
export type { ReplicaHealth } from './replica/healthcheck.js';
export type { EventsOptions } from './replica/events.js';
export type { EventPhase, ReplicaEvent } from './replica/replica-event.js';
export { nextState } from './config/lifecycle.js';
export type { MailboxProtocol, Ping, QueryRequest, Standing } from './service/mailbox.js';
export {
  verifyCluster,
  type TableDifference,
  type VerifyOptions,
  type VerifyResult,
} from './service/verify.js';
export type { DifferentRow } from './service/row-differences.js';
export { CLUSTER_KEY, decodeClusterDocument, type ClusterDocument } from '@antiphon/core';
export { findMember, listMembers, type MemberRecord } from '@antiphon/core';
export { decodeBeat, type Beat } from '@antiphon/core';
export { beatSubject, mailboxPrefix } from '@antiphon/core';
