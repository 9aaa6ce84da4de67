import { remoteRef, type Ref } from '@antiphon/actor';
import { type Bus, mailboxPrefix, systemClock } from '@antiphon/core';
import { type MailboxProtocol, traceHeaders } from '@antiphon/replica/internal';

/**
 * Asks one replica: `ref.ask('query', { sql, params, maxRows })`. Its commands are those of
 * `MailboxProtocol`.
 */
export type ReplicaRef = Ref<MailboxProtocol>;

const ASK_TIMEOUT_MS = 10_000;

/**
 * Nothing says yet whether there is one of that id. Queries through one reference that are asked in
 * the same turn of the event loop go as one message.
 */
export function replicaRef(bus: Bus, cluster: string, id: string): ReplicaRef {
  return remoteRef<MailboxProtocol>(bus, mailboxPrefix(cluster, id), {
    timeoutMs: ASK_TIMEOUT_MS,
    maxInFlight: Infinity,
    bundling: { commands: ['query'], clock: systemClock() },
    headers: traceHeaders,
  });
}
