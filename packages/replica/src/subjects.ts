/** The subjects of a cluster that replicas use over the Bus; the log's own belong to its adapter. */
export function beatSubject(cluster: string, id: string): string {
  return `antiphon.${cluster}.beat.${id}`;
}

export function mailboxPrefix(cluster: string, id: string): string {
  return `antiphon.${cluster}.replica.${id}`;
}
