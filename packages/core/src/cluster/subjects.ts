/**
 * The subjects of a cluster that replicas use over the Bus; the log's own belong to its adapter.
 */
export function beatSubject(cluster: string, id: string): string {
  return `antiphon.${cluster}.beat.${id}`;
}

/** What replicas may be asked to answer on when they have committed a synchronous group. */
export function ackSubjectPrefix(cluster: string): string {
  return `antiphon.${cluster}.ack.`;
}

export function ackSubject(cluster: string, id: string, instance: string): string {
  return `${ackSubjectPrefix(cluster)}${id}.${instance}`;
}

export function mailboxPrefix(cluster: string, id: string): string {
  return `antiphon.${cluster}.replica.${id}`;
}

/** Where the cluster is asked to read: one of the replicas that serve reads answers. */
export function readSubject(cluster: string): string {
  return `antiphon.${cluster}.read`;
}

/** Where it is asked to write: one of the replicas that can have it written answers. */
export function writeSubject(cluster: string): string {
  return `antiphon.${cluster}.write`;
}

/** What the service behind both is called in NATS's own service discovery. */
export function serviceName(cluster: string): string {
  return `antiphon-${cluster}`;
}
