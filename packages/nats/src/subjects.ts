import { AntiphonError, assertClusterName, assertReplicaId } from '@antiphon/core';

/**
 * Every subject and JetStream name of a cluster. Fixed names: other programs and NATS's own tools
 * rely on them.
 */

const COMMAND = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;

export function clusterPrefix(cluster: string): string {
  assertClusterName(cluster);
  return `antiphon.${cluster}`;
}

/**
 * Antiphon's own records, such as `_insync`. The one that says which log it is has its own way in:
 * `identitySubject`.
 */
const OWN_RECORD = /^_(?!log$)[a-z]{1,30}$/;

/** Where the batches of one replica are published, or Antiphon's own records of one kind. */
export function logSubject(cluster: string, origin: string): string {
  if (!OWN_RECORD.test(origin)) assertReplicaId(origin);
  return `${clusterPrefix(cluster)}.log.${origin}`;
}

/** Everything that belongs to the log's stream. */
export function logSubjects(cluster: string): string {
  return `${clusterPrefix(cluster)}.log.>`;
}

/** The subject of the record that says which log this is: its first one. */
export function identitySubject(cluster: string): string {
  return `${clusterPrefix(cluster)}.log._log`;
}

export function beatSubject(cluster: string, id: string): string {
  assertReplicaId(id);
  return `${clusterPrefix(cluster)}.beat.${id}`;
}

/** The beats of every replica. */
export function beatSubjects(cluster: string): string {
  return `${clusterPrefix(cluster)}.beat.*`;
}

/** What comes before `.<command>` in the subjects of a replica's mailbox. */
export function replicaPrefix(cluster: string, id: string): string {
  assertReplicaId(id);
  return `${clusterPrefix(cluster)}.replica.${id}`;
}

export function replicaSubject(cluster: string, id: string, command: string): string {
  if (!COMMAND.test(command)) {
    const message = `${JSON.stringify(command)} is not a valid command name. Use letters, digits, "-" and "_".`;
    throw new AntiphonError('BAD_OPTION', message, { context: { cluster, replica: id } });
  }
  return `${replicaPrefix(cluster, id)}.${command}`;
}

/** A replica's whole mailbox. */
export function replicaSubjects(cluster: string, id: string): string {
  return `${replicaPrefix(cluster, id)}.*`;
}

export function streamName(cluster: string): string {
  assertClusterName(cluster);
  return `ANTIPHON_${cluster}`;
}

/**
 * The stream of the cluster's lease: who may write. It holds one message. No cluster's log has such
 * a name, whatever the cluster is called.
 */
export function leaseStream(cluster: string): string {
  assertClusterName(cluster);
  return `ANTIPHON-LEASE_${cluster}`;
}

export function leaseSubject(cluster: string): string {
  return `${clusterPrefix(cluster)}.lease`;
}

/** The durable consumer of a replica. */
export function durableName(id: string): string {
  assertReplicaId(id);
  return `replica_${id}`;
}

/** The key-value bucket of the cluster's registry. */
export function registryBucket(cluster: string): string {
  assertClusterName(cluster);
  return `ANTIPHON_${cluster}`;
}
