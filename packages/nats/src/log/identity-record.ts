import { AntiphonError, decodeControl, encodeControl } from '@antiphon/core';
import { v7 } from 'uuid';
import type { Requester } from '../connection/requester.js';
import { MessageHeaders } from '../connection/message-headers.js';
import type { CallOptions, JetStreamApi } from '../jetstream/api.js';
import { identitySubject, streamName } from '../subjects.js';

/**
 * The log's first record says which log it is: a name can be used again, and so can sequence
 * numbers. Exactly one of several creators gets to write it, since it is only accepted as the very
 * first message.
 */
interface IdentityRecord {
  readonly format: 1;
  readonly cluster: string;
  readonly generation: string;
}

/** The sequence number of the identity record: readers pass over it. */
export const IDENTITY_SEQ = 1;

const WRITE_TIMEOUT_MS = 1500;

/**
 * The generation that the stream's record names; undefined when it has none. Once the first record
 * was trimmed, the newest one on its subject counts: who trims writes it again first.
 *
 * @throws AntiphonError LOG_UNAVAILABLE, ABORTED; ApiError when there is no stream.
 */
export async function readGeneration(
  api: JetStreamApi,
  cluster: string,
  options: CallOptions,
): Promise<string | undefined> {
  const stream = streamName(cluster);
  const subject = identitySubject(cluster);
  const first = await api.getMessage(stream, IDENTITY_SEQ, options);
  const record = first ?? (await api.lastMessage(stream, subject, options));
  return record?.subject === subject ? parse(record.data, cluster) : undefined;
}

/**
 * Writes the record of a new generation unless the stream has messages. Says nothing about whether
 * it worked: an answer may be lost, and somebody else may have been first; `readGeneration` tells.
 *
 * @throws AntiphonError ACCESS_DENIED, ABORTED
 */
export async function writeIdentity(
  requester: Requester,
  cluster: string,
  signal?: AbortSignal,
): Promise<void> {
  const record: IdentityRecord = { format: 1, cluster, generation: v7() };
  const headers = new MessageHeaders({
    'Nats-Msg-Id': `_log:${record.generation}`,
    'Nats-Expected-Stream': streamName(cluster),
    'Nats-Expected-Last-Sequence': IDENTITY_SEQ - 1,
  });
  const options = { timeoutMs: WRITE_TIMEOUT_MS, headers, signal };
  const outcome = await requester.request(identitySubject(cluster), encodeControl(record), options);
  if (outcome.type === 'denied') throw outcome.error;
}

/**
 * Writes the record of a log once more, after the first one was trimmed. Says nothing about whether
 * it worked.
 */
export async function repeatIdentity(
  requester: Requester,
  cluster: string,
  generation: string,
  signal?: AbortSignal,
): Promise<void> {
  const record: IdentityRecord = { format: 1, cluster, generation };
  // Any number of processes may do so at the same moment: the log takes one.
  const headers = new MessageHeaders({
    'Nats-Msg-Id': `_log:${generation}:again`,
    'Nats-Expected-Stream': streamName(cluster),
  });
  const options = { timeoutMs: WRITE_TIMEOUT_MS, headers, signal };
  await requester.request(identitySubject(cluster), encodeControl(record), options);
}

function parse(data: Uint8Array, cluster: string): string | undefined {
  let record: unknown;
  try {
    record = decodeControl(data);
  } catch (error) {
    if (error instanceof AntiphonError) return undefined;
    throw error;
  }
  if (typeof record !== 'object' || record === null) return undefined;
  const { format, cluster: named, generation } = record as Partial<Record<keyof IdentityRecord, unknown>>;
  return format === 1 && named === cluster && typeof generation === 'string' ? generation : undefined;
}
