/**
 * For other packages of Antiphon: not part of the public API, and may change with every release.
 */
export { parseBalance } from './balance/balance-options.js';
export { ReadRouter } from './balance/read-router.js';
export { ReplicaTable } from './balance/replica-table.js';
export { askCandidacies, type CandidacyAnswer } from './candidacies.js';
export { accessFor, accessOf, type AccessParts } from './access.js';
export {
  hasAnswered,
  primaryIn,
  rankedCandidates,
  type RankedCandidate,
  writingMsIn,
} from './ranked-candidates.js';
export { replicaRef } from './replica-ref.js';
export { findRescued } from './rescue.js';
export { type AskedCluster, writingMsOf } from './member-answers.js';
export { anotherReplica, furthestOf, nobodyAnswers, primaryOf, witnessFor } from './choose-replica.js';
export { CONNECT_OPTIONS } from './connect.js';
export { failoverPlan, type FailoverPlan, isTakenOver, lossOf, planOf, stillThere } from './failover-plan.js';
