import type { ReplicaLimits } from '@antiphon/replica';
import { z } from 'zod';
import { fromText } from './from-text.js';

/** Timers of Node end at once when they are set to more. */
const MAX_MS = 2_147_483_647;
const MAX_COUNT = 1_000_000_000_000;

/** Each as in the library; a missing one does not compile. */
const LIMITS: Readonly<Record<keyof ReplicaLimits, string>> = {
  pollMs: 'How often writes by other programs are looked for. Default 10.',
  connectTimeoutMs: 'For NATS to answer at start, and for the cluster to come into being. Default 10000.',
  duplicateCheckMs: 'How long another replica under this id may take to say so at start. Default 500.',
  writeTimeoutMs: 'For a write, retries included, when its caller names no time. Default 10000.',
  writeGroup: 'Most writes of one group commit; none begins after 50 ms of them. Default 256.',
  waitingWrites: 'Writes that wait; more are refused (OVERLOADED). Default 4096.',
  applyEntries: 'Entries of the log that are applied in one transaction. Default 512.',
  applyBytes: 'Bytes of the log that are applied in one transaction. Default 524288.',
  applySliceMs: 'Longest uninterrupted piece of work of an apply. Default 10.',
  packBytes: 'Sealed messages are packed up to this size when there is a backlog. Default 184320.',
  windowMessages: 'Messages that are sent and not yet acknowledged. Default 256.',
  windowBytes: 'Bytes that are sent and not yet acknowledged. Default 4194304.',
  pageBytes: 'Read from the outbox at once. Default 1048576.',
  beatMs: 'How often a replica says how it is. Default 1000.',
  memberSilenceLimitMs: 'No messages are kept for a member that was silent for longer. Default 86400000.',
  quarantinedMessages: 'Messages kept in quarantine; more are only counted. Default 200000.',
  quarantinedBytes: 'Bytes kept in quarantine. Default 268435456.',
  inSyncLagMs: 'A member that is silent, or behind, for longer leaves the in-sync set. Default 3000.',
  inSyncJoinMs: 'How long a start waits until the replica is in sync. Default 5000.',
  clockAlarmMs: "Clocks that are further from the log's are alarmed. Default 60000.",
  maxClockSkewMs: "A machine whose clock is further ahead of the log's takes no writes. Default 300000.",
  clockRefusalMs:
    "A change whose time is further ahead of the log's clock is quarantined. Agreed on when the cluster is created: `antiphon settings`. Default 86400000.",
  valueBytes:
    'A larger text or BLOB is refused where it is written. Agreed on likewise; at most 268435456. Default 67108864.',
  rowBytes:
    'A row whose texts and BLOBs have more together is refused likewise. Agreed on; at most 419430400. Default 134217728.',
  queryTimeoutMs: 'For a query when its caller names no time. Default 30000.',
  queryRows: "Rows of a query's result when its caller names no limit. Default 10000.",
  queryBytes: "Bytes of a query's result, about. Default 33554432.",
  checksumTimeoutMs: 'For the checksums of all tables. Default 600000.',
  changeFeedBytes: 'Of one transaction, that a change feed holds in memory. Default 67108864.',
  closeTimeoutMs: 'For closing altogether. Default 5000.',
  blockedMs:
    'A statement of a write that keeps the process busy for longer ends it: nothing else is done meanwhile, not even ending on SIGTERM. A primary keeps its lease for so long. Default 60000.',
};

function limit(name: string, text: string) {
  const most = name.endsWith('Ms') ? MAX_MS : MAX_COUNT;
  return z.preprocess(fromText, z.number().int().min(1).max(most)).optional().describe(text);
}

export const limitsSchema = z
  .strictObject(
    Object.fromEntries(Object.entries(LIMITS).map(([name, text]) => [name, limit(name, text)])) as Record<
      keyof ReplicaLimits,
      ReturnType<typeof limit>
    >,
  )
  .describe('Bounds of this replica, each with a default: milliseconds, bytes, or numbers of things.');

export const LIMIT_KEYS = Object.keys(LIMITS);
