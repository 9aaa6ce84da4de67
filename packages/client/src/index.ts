export { accessFromEnvironment, type Access } from './access.js';
export { BALANCE_POLICIES, type BalancePolicy } from './balance/policies.js';
export type { BalanceOptions } from './balance/balance-options.js';
export type { Eligible, PassedOver, PassedOverReason } from './balance/eligibility.js';
export { explained, type ReadChoice } from './balance/read-router.js';
export type { ReplicaView } from './balance/replica-view.js';
export type { CircuitPhase } from './balance/circuit.js';
export { Client } from './client.js';
export type {
  ClientExecuteOptions,
  ClientStreamOptions,
  ReadOptions,
  ReadResult,
  SessionReadOptions,
} from './client-options.js';
export { connect, type ConnectOptions } from './connect.js';
export { Session } from './session.js';
// What calls take and give, and the errors that a program can catch.
export {
  AntiphonError,
  ConflictError,
  ERROR_CODES,
  Real,
  UnknownOutcomeError,
  type ConflictDetails,
  type ErrorCode,
  type ErrorContext,
  type Parameter,
  type RowObject,
  type Value,
} from '@antiphon/core';
export {
  newId,
  type Consistency,
  type Params,
  type SessionPosition,
  type SessionToken,
  type Statement,
  type WriteResult,
} from '@antiphon/replica';
export { clusterChanges, type ClusterChangesOptions } from './changes/cluster-changes.js';
export { parseCursor } from './changes/log-changes.js';
export { chooseReplica, type ChosenReplica } from './choose-replica.js';
export { ClusterClient, type ClusterAddress, type ClusterClientOptions } from './cluster-client.js';
export {
  executeInCluster,
  type ClusterExecuteOptions,
  type ExecutedInCluster,
} from './execute-in-cluster.js';
export { askMembers, type MemberAnswer } from './member-answers.js';
export type { ReplicaRef } from './replica-ref.js';
export { listQuarantine, retryQuarantine, type AskLimits } from './quarantine.js';
export { listConflicts } from './conflicts.js';
export { dismissRescued, listRescued, reapplyRescued, rescuedChanges, showRescued } from './rescue.js';
export type { MailboxProtocol } from '@antiphon/replica/internal';
export {
  formatSessionPlace,
  parseSessionPlace,
  sessionPosition,
  type SessionPlace,
} from './session-place.js';
