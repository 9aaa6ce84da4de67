import './node-check.js';

// Starting one.
export { createReplica, type CreateReplicaOptions } from './start/create-replica.js';
export { startReplica } from './start/start.js';
export type { AccessDenial, ReplicaOptions, ReplicaPorts } from './config/options.js';
export type { ReadOptions } from './config/reads.js';
export type { ReadsAccess, ServingStatus } from './state/serving.js';
export { DEFAULT_LIMITS, type ReplicaLimits } from './config/limits.js';
export type { Logger } from './config/logger.js';
export type {
  AckLevel,
  AgreedLimits,
  AsyncUpdate,
  Role,
  SyncSettings,
  SyncUpdate,
  Topology,
  UpdateOptions,
  UpdateSettings,
} from '@antiphon/core';
export type { NatsAccess, NatsLogin, NatsTls } from '@antiphon/nats';

// Writing, reading, following.
export { newId } from './config/ids.js';
export type { Replica } from './replica/replica.js';
export type { CaughtUpOptions } from './replica/caught-up.js';
export type { TracingOptions } from './tracing/options.js';
export type { ExecuteOptions, WriteOptions } from './write/write-options.js';
export type { Params, SqlTransaction, Statement } from './write/statement.js';
export type { Acknowledgements, WriteResult } from './state/write-result.js';
export type { Outcome, OutcomeOptions } from './read/outcome.js';
export type { Consistency, QueryOptions } from './read/read.js';
export type { RowForm } from './read/row-objects.js';
export type { StreamOptions } from './read/stream.js';
export type { SessionPosition, SessionToken } from './state/session.js';
export type { ChangeOf, ChangesOptions, CommittedChange } from './read/changes.js';
export type {
  ChangedRow,
  Integers,
  LoggedChange,
  Parameter,
  Position,
  RowObject,
  SomeColumns,
  TransactionId,
  Value,
  VectorClock,
} from '@antiphon/core';
export { Real } from '@antiphon/core';

// Errors: every class that a program can catch, and their codes.
export {
  AntiphonError,
  ConflictError,
  ERROR_CODES,
  UnknownOutcomeError,
  type ConflictDetails,
  type ErrorCode,
  type ErrorContext,
} from '@antiphon/core';

// How it is.
export type { MemberStatus, ReplicaStatus, SyncStatus } from './replica/status.js';
export type { LifecycleState } from './config/lifecycle.js';
export type { Alarm, Holding, StallReason, Waiting } from './config/standstill.js';
export type { ConflictReport } from './state/conflicts.js';
export type { ConflictList, ShownConflict } from './repair/kept-conflicts.js';
export type { ClockStatus } from './state/clock-watch.js';
export type { LeftOut } from '@antiphon/core';
export { problemsOf, type HealthOptions } from './replica/problems.js';
export {
  verifyCluster,
  type TableDifference,
  type VerifyOptions,
  type VerifyResult,
} from './service/verify.js';
export type { DifferentRow } from './service/row-differences.js';

// Ways back.
export type {
  DiscardAnswer,
  QuarantineAccess,
  QuarantinedDetail,
  QuarantineList,
  QuarantineQuery,
  RetriedMessage,
  RetryAnswer,
} from './repair/quarantine.js';
export type {
  ReapplyAnswer,
  ReapplyOptions,
  RescueAccess,
  RescueDetail,
  RescuedTransaction,
  RescueList,
  RescuePage,
  RescueQuery,
} from './failover/rescue.js';
export type { TakenOver, TakeOverOptions } from './failover/take-over.js';
export type { SwitchedOver, SwitchOverOptions } from './failover/switch-over.js';
export type { EpochStatus } from './replica/status.js';
export type { ShownRescueChange, ShownRescueConflict } from './failover/rescue-values.js';
export type { ShownRow } from './repair/shown-row.js';
export type { CutValue, QuarantinedContent, ShownChange } from './repair/quarantined-content.js';
export type { RecaptureOptions, RecaptureResult } from './repair/recapture.js';
export type { Left, LeaveOptions } from './membership/leave.js';
export type { Removal, RemoveMemberOptions } from './membership/remove-member.js';
export type { Subscription } from './read/subscription.js';
export type { SubscribeOptions, SubscriptionInfo } from './read/subscriptions.js';
export type { PublishingStatus } from './state/publishing.js';
export type { PublishOptions, PublishRetention } from '@antiphon/core';
export type { SubscriptionStatus } from './state/active-subscriptions.js';
export type { SubscriptionHolder } from '@antiphon/core';
export type { ReplicaHealth } from './replica/healthcheck.js';
export type { EventsOptions } from './replica/events.js';
export type { EventPhase, ReplicaEvent } from './replica/replica-event.js';
