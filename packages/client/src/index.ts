export { accessFromEnvironment, type Access } from './access.js';
export { clusterChanges, type ClusterChangesOptions } from './changes/cluster-changes.js';
export { parseCursor } from './changes/log-changes.js';
export { chooseReplica, type ChosenReplica } from './choose-replica.js';
export {
  ClusterClient,
  type ClusterAddress,
  type ClusterClientOptions,
  type ReplicaRef,
} from './cluster-client.js';
export {
  executeInCluster,
  type ClusterExecuteOptions,
  type ExecutedInCluster,
} from './execute-in-cluster.js';
export { askMembers, type MemberAnswer } from './member-answers.js';
export { listQuarantine, retryQuarantine, type AskLimits } from './quarantine.js';
export { dismissRescued, listRescued, reapplyRescued, rescuedChanges, showRescued } from './rescue.js';
export type { MailboxProtocol } from '@antiphon/replica/internal';
export { parseSessionPlace, sessionPosition, type SessionPlace } from './session-place.js';
