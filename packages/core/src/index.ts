// What this declares to its users (`AbortSignal`, `Symbol.asyncDispose`) is Node.js's own: without
// this line, they would have to know that.
/// <reference types="node" preserve="true" />
export {
  type ChangeCursor,
  compareCursors,
  type CursorOrder,
  decodeCursor,
  encodeCursor,
  readFrom,
  type ReadEntry,
} from './changes/change-cursor.js';
export { ChangeStream, type ChangeStreamDeps } from './changes/change-stream.js';
export { endable } from './changes/endable.js';
export { findPlace, findOpenParts, type FoundPlace, type Standpoint } from './changes/place-in-log.js';
export { type SecondLook, SecondLooks } from './changes/second-look.js';
export type { ChangedRow, LoggedChange, RowObject, SomeColumns } from './changes/committed-change.js';

export { HybridClock } from './clocks/hybrid-clock.js';
export { durationText, LogClock, type LogClockOptions, type LogClockReading } from './clocks/log-clock.js';
export { systemClock } from './clocks/system-clock.js';
export {
  compareVectors,
  counterOf,
  covers,
  dominates,
  merge,
  type VectorClock,
  type VectorOrder,
} from './clocks/vector-clock.js';

export {
  AGREED_LIMITS,
  type AgreedLimits,
  agreedOf,
  assertInRange,
  assertSensible,
  limitsDifference,
  type LimitsFrom,
  MAX_LIMIT_CHANGES,
  newestLimits,
} from './cluster/agreed-limits.js';
export {
  type Beat,
  type BeatPrimary,
  type BeatReads,
  decodeBeat,
  encodeBeat,
  MAX_REASONS,
  MAX_STRANGERS,
  MAX_WAITS,
} from './cluster/beat.js';
export { type FailoverOptions, type FailoverSettings, parseFailover } from './cluster/failover.js';
export {
  CLUSTER_KEY,
  type ClusterDocument,
  decodeClusterDocument,
  encodeClusterDocument,
  isCertified,
  FAILOVER_IS_FOR_NEW_CLUSTERS,
  settingsDifference,
} from './cluster/cluster-document.js';
export {
  findMember,
  findReadableMember,
  listMembers,
  listRecords,
  markRemoved,
  type MemberRecord,
  registerMember,
  restoreRecord,
} from './cluster/member-record.js';
export { assertTablesWanted, replicatedNames, tablesToName } from './cluster/replicated-tables.js';
export { FIRST_ENTRY_SEQ, isReserved, isWhole } from './cluster/reserved.js';
export {
  ackSubject,
  ackSubjectPrefix,
  beatSubject,
  mailboxPrefix,
  readSubject,
  serviceName,
  writeSubject,
} from './cluster/subjects.js';
export {
  describeTopology,
  formerTopology,
  parseTopology,
  primaryReplicaOf,
  type Role,
  roleOf,
  soleWriter,
  type Topology,
} from './cluster/topology.js';
export {
  type AckLevel,
  type AsyncUpdate,
  describeUpdate,
  MAX_ACKS,
  parseAcks,
  parseUpdate,
  type SyncSettings,
  type SyncUpdate,
  type UpdateOptions,
  type UpdateSettings,
} from './cluster/update.js';

export { BatchEncoder } from './codec/batch-encoder.js';
export { type BatchSummary, lastCounterOf } from './codec/batch-summary.js';
export { CanonicalRowEncoder } from './codec/canonical-row.js';
export { ChangeEncoder } from './codec/change-encoder.js';
export { decodeControl, decodeRecord, encodeControl, isRecord } from './codec/control.js';
export { findClusterDocument, type FoundDocument } from './cluster/find-document.js';
export { decodeDocument, type DocumentItem, encodeDocument } from './codec/document.js';
export { decodeEpochRecord, encodeEpochRecord } from './codec/epoch-record.js';
export { decodeLeaseRecord, encodeLeaseRecord } from './codec/lease-record.js';
export { withEpoch } from './codec/with-epoch.js';
export { cutMessage } from './codec/cut-message.js';
export { decodeBatches, summarize } from './codec/decode-batches.js';
export { ChangeDecoder, decodeChanges } from './codec/decode-changes.js';
export { encodeBatch, encodePart } from './codec/encode-batch.js';
export {
  type CodecLimits,
  DEFAULT_CODEC_LIMITS,
  DEFAULT_ROW_LIMITS,
  LARGEST_ROW_LIMITS,
  type RowLimits,
} from './codec/limits.js';
export { syncLength } from './codec/sync-section.js';
export { Bag, type Bagged } from './model/bag.js';
export { type CutShort, cutShort } from './model/cut-short.js';
export { beforeUpdate, rescueChangeOf } from './model/rescue-change.js';

export { type Admission, type AdmissionState, admit, admitted, newOfPart } from './decisions/admission.js';
export { type FlapVerdict, nextPromotion, promotionsIn } from './decisions/anti-flap.js';
export {
  type Candidacy,
  candidateWaitMs,
  obstacleIn,
  type Obstacles,
  type Placed,
  rankCandidates,
  type RankOptions,
} from './decisions/candidacy.js';
export {
  type DetectorEvent,
  detectorOf,
  type DetectorSettings,
  type DetectorState,
  detectorStep,
  type DetectorVerdict,
  detectorVerdict,
  type LossReason,
} from './decisions/failure-detector.js';
export {
  isLeaseValid,
  type KeeperEvent,
  keeperEventOf,
  keeperOf,
  keeperStep,
  type KeeperTask,
  keeperTakenOver,
  keeperTask,
} from './decisions/lease-keeper.js';
export { BatchOrder } from './decisions/batch-order.js';
export {
  CERTIFICATION_LIMITS,
  type CertificationLimits,
  type CertifiedGroup,
  Certifier,
  type Rejection,
  type RejectionReason,
  type Verdict,
} from './decisions/certification.js';
export { type ClaimMode, claimOf, type ClaimSpace, fingerprintOf, isShared } from './decisions/claims.js';
export {
  type CreationChoice,
  creationObstacles,
  type CreationOptions,
  creationRemarks,
  replicatedTables,
  stayingBehind,
  triggerObstacles,
  whereTriggerFires,
  workingChoice,
} from './decisions/creation.js';
export {
  EPOCH_ORIGIN,
  epochAt,
  EpochFold,
  firstEpoch,
  hasOtherPrimary,
  inEpoch,
  isFenced,
  findVoided,
  newestEpoch,
  nextEpoch,
} from './decisions/epoch.js';
export { type Epoch, NOBODY, type PassedEpoch } from './model/epoch.js';
export type { EpochReason, EpochRecord } from './model/epoch-record.js';
export { missingTables } from './decisions/missing-tables.js';
export { withGap, withoutArrived, withoutGap } from './decisions/gaps.js';
export {
  type IntakeRules,
  isTooFarAhead,
  latestTime,
  missingCause,
  unknownToPrimary,
  refuseBatch,
  refuseOrigin,
} from './decisions/intake-rules.js';
export { compareVersions, type Version, wins } from './decisions/version.js';

export {
  abortError,
  abortReason,
  AntiphonError,
  type AntiphonErrorOptions,
  type ErrorContext,
  toAntiphonError,
  withAbortReason,
} from './errors/antiphon-error.js';
export { type AlarmKind, type AlarmName, ALARMS, alarmSection } from './errors/alarms.js';
export { ERROR_CODES, type ErrorCode } from './errors/codes.js';
export { redact } from './errors/redact.js';
export { counted } from './errors/counted.js';
export { sentence, withoutStop } from './errors/sentence.js';
export { nodeProblem, OLDEST_NODE_VERSION, type RunningNode } from './errors/supported-node.js';
export { type ConflictDetails, ConflictError, UnknownOutcomeError } from './errors/write-errors.js';

export { assertClusterName, assertReplicaId, isIdentifier } from './model/identifier.js';
export { assertIntegers, type Integers, withIntegers } from './model/integers.js';
export { formatOutcomeId, parseOutcomeId, type OutcomeId } from './model/outcome-id.js';
export {
  describeEntry,
  formatPosition,
  isSameEntry,
  type KnownEntry,
  movedTo,
  type Position,
} from './model/position.js';
export { REQUESTS_TABLE, usersTables } from './model/requests-table.js';
export type { KeeperSettings, KeeperState } from './model/keeper-state.js';
export type { KeptParts } from './model/kept-parts.js';
export type { LeaseRecord } from './model/lease-record.js';
export type { ClusterSchema, ColumnSchema, TableSchema } from './model/schema.js';
export { hasIndexKey, INDEX_KEY_RULE } from './model/schema.js';
export { isVersionAtLeast, OLDEST_SERVER_VERSION, parseServerVersion } from './model/server-version.js';
export { shellWord } from './model/shell-word.js';
export { foldName, isSameName } from './model/sql-name.js';
export type {
  Batch,
  BatchHeader,
  Change,
  ChangeTime,
  Claim,
  DictionaryTable,
  PartBatch,
  RowChange,
  SealedTransaction,
  SyncSection,
  TransactionBatch,
} from './model/transaction.js';
export { formatTransactionId, type TransactionId } from './model/transaction-id.js';
export { type Parameter, Real, type Row, TaggedValue, type Value, type ValueTag } from './model/value.js';

export { checkOptions, checkRequired, type OptionNames, shownOption } from './options/check-options.js';
export { oneOf, OPTION, type OptionKind } from './options/option-kinds.js';
export { suggest, suggestion } from './options/suggestion.js';

export type { Bus, BusHeaders, BusRequest, BusSubscription } from './ports/bus.js';
export { type Clock, sleep, type Timer } from './ports/clock.js';
export type {
  Lease,
  LeaseEntry,
  LeaseStanding,
  LeaseStandIn,
  LeaseTake,
  StandInOptions,
} from './ports/lease.js';
export type {
  AppendRequest,
  AppendResult,
  Log,
  LogConnection,
  LogEntry,
  LogIdentity,
  LogReader,
} from './ports/log.js';
export {
  type UncapturedTable,
  type CompareOptions,
  deletesMost,
  type KeptTable,
  MAX_NAMED_DIFFERENCES,
  type RecaptureReport,
  type RowDifferences,
} from './ports/recapture.js';
export {
  MAX_SUSPICIOUS,
  type Rescue,
  MAX_RESCUE_CONFLICTS,
  type RescueChange,
  type RescueConflict,
  type RescueData,
  type RescueReason,
  type RescueState,
  type RescueWrite,
  type RewindOptions,
  type Rewinding,
  type RewindReport,
} from './ports/rescue.js';
export type {
  Publication,
  PublicationEnd,
  PublishedMark,
  PublishRequest,
  PublishResult,
} from './ports/publication.js';
export type { Registry, RegistryEntry } from './ports/registry.js';
export type { RequestRows, RequestsSchema } from './ports/requests.js';
export {
  type ApplyOutcome,
  type ApplyRequest,
  type ApplyStep,
  type ChecksumReport,
  type Gap,
  type GroupOutcome,
  type InspectedTable,
  type InspectedTrigger,
  type InspectedView,
  type InspectOptions,
  type InstallOptions,
  type InstallReport,
  KEPT_OUTCOMES,
  type LeftOut,
  type LeftOutWrite,
  MAX_SHOWN_CONFLICTS,
  type NamedClaim,
  type PreparedGroup,
  type PreparedWrite,
  type PrepareOptions,
  type QuarantinedMessage,
  type QueryResult,
  type RowStream,
  type Recapturing,
  type Refusal,
  type RowDigest,
  type SealedMessage,
  type Store,
  type StoreCapabilities,
  type StoreIdentity,
  type StoreInspection,
  type StoreState,
  type TableChecksum,
  type WriteOutcome,
  type WriteRequest,
  type WritingWatch,
} from './ports/store.js';
export {
  type ConflictPort,
  type KeptConflict,
  MAX_KEPT_CONFLICTS,
  type RowConflict,
} from './ports/conflicts.js';

export { type AckVerdict, DeliveryWindow } from './subscriptions/delivery-window.js';
export {
  isHeldBy,
  leaseLeftMs,
  released,
  renewalMs,
  type Sighting,
  sighted,
  taken,
  takeoverInMs,
} from './subscriptions/lease.js';
export {
  assertSubscriptionName,
  listSubscriptions,
  readSubscription,
  removeSubscription,
  type StoredSubscription,
  type SubscriptionHolder,
  type SubscriptionRecord,
  writeSubscription,
} from './subscriptions/subscription-record.js';

export { changeToJson, floatToJson, markerToJson } from './publishing/change-json.js';
export {
  changesStream,
  parsePublish,
  type PublishOptions,
  type PublishRetention,
  type PublishSettings,
} from './publishing/publish-options.js';
export { escapeToken, SubjectTemplate } from './publishing/subject-template.js';

export {
  formatTransactionTrace,
  readTraceContext,
  readTransactionTrace,
  type TraceContext,
  type TransactionTrace,
} from './tracing/trace-context.js';
