export { accessFor, accessFromEnvironment, accessOf, type Access, type AccessParts } from './access.js';
export { clusterChanges, type ClusterChangesOptions } from './changes/cluster-changes.js';
export { parseCursor } from './changes/log-changes.js';
export {
  anotherReplica,
  chooseReplica,
  nobodyAnswers,
  witnessFor,
  type ChosenReplica,
} from './choose-replica.js';
export {
  ClusterClient,
  type ClusterAddress,
  type ClusterClientOptions,
  type ReplicaRef,
} from './cluster-client.js';
export { askMembers, type MemberAnswer } from './member-answers.js';
export { listQuarantine, retryQuarantine, type AskLimits } from './quarantine.js';
export { parseSessionPlace, sessionPosition, type SessionPlace } from './session-place.js';
