import { AntiphonError, type AppendResult } from '@antiphon/core';
import { toPortError, type ApiError } from '../jetstream/api-error.js';
import type { CallOptions } from '../jetstream/api.js';
import type { StoredMessage } from '../jetstream/stored-message.js';
import { streamName } from '../subjects.js';
import type { OutcomeDeps, PendingAppend } from './pending-append.js';

/** The id of the append, where `Nats-Msg-Id` is the place that it competes for. */
export const ATTEMPT_HEADER = 'Antiphon-Attempt';

/**
 * "Wrong last sequence" can be the answer to a second try of an entry that the log stored the first
 * time, or to an entry that a restarting server meets once more. What follows the expected entry
 * tells: nothing else could have been stored under this expectation. Only when that was read is the
 * append refused; else nobody knows.
 */
export async function explainConflict(
  error: ApiError | undefined,
  pending: PendingAppend,
  deps: OutcomeDeps,
): Promise<AppendResult> {
  const context = { cluster: deps.cluster, id: pending.id };
  const { expectedLastSeq, expectedLastSeqOfOrigin } = pending;
  try {
    if (expectedLastSeqOfOrigin !== undefined) {
      return await explainOfOrigin(error, { ...pending, expectedLastSeqOfOrigin }, deps);
    }
    if (expectedLastSeq !== undefined)
      return await explainOfLog(error, { ...pending, expectedLastSeq }, deps);
    return { type: 'unknown', error: toPortError(error, context) };
  } catch (failure) {
    return { type: 'unknown', error: toPortError(failure, context) };
  }
}

/** @throws when the log could not be read. */
async function explainOfLog(
  error: ApiError | undefined,
  pending: PendingAppend & { readonly expectedLastSeq: number },
  { api, guard, cluster }: OutcomeDeps,
): Promise<AppendResult> {
  const { id, expectedLastSeq } = pending;
  const lastSeq = error?.actualLastSequence;
  // Shorter than expected: either the caller's mistake, or the log lost entries.
  if (lastSeq !== undefined && lastSeq < expectedLastSeq) void guard.look();
  else {
    const follower = await api.getMessage(streamName(cluster), expectedLastSeq + 1, timeLeft(pending));
    if (isOf(follower, pending)) return { type: 'stored', seq: follower.seq, duplicate: true };
  }
  const end = lastSeq === undefined ? 'The log does not end' : `The log ends at entry ${lastSeq}, not`;
  const message = `${end} at the expected entry ${expectedLastSeq}: somebody else has appended, or an append before this one was refused. Read the log, then try again.`;
  const refusal = refused(error, message, { cluster, id });
  return { type: 'refused', error: refusal, ...(lastSeq === undefined ? {} : { lastSeq }) };
}

/**
 * With or without an expectation of the whole log besides. @throws when the log could not be read.
 */
async function explainOfOrigin(
  error: ApiError | undefined,
  pending: PendingAppend & { readonly expectedLastSeqOfOrigin: number },
  { api, guard, cluster }: OutcomeDeps,
): Promise<AppendResult> {
  const { id, subject, expectedLastSeq, expectedLastSeqOfOrigin: expected } = pending;
  const stream = streamName(cluster);
  // Not the newest one alone: it may have been put on top of ours.
  const follower = await api.nextMessage(stream, subject, expected + 1, timeLeft(pending));
  if (isOf(follower, pending)) return { type: 'stored', seq: follower.seq, duplicate: true };
  // Read, not taken from the answer: newer servers don't always say a number, nor which of two
  // expectations failed.
  const newest = await api.lastMessage(stream, subject, timeLeft(pending));
  const lastSeqOfOrigin = newest?.seq ?? 0;
  // A rival, or an earlier try of this one, is on its way there.
  if (error?.duplicateUnderWay === true && lastSeqOfOrigin === expected) {
    return { type: 'unknown', error: toPortError(error, { cluster, id }) };
  }
  if (lastSeqOfOrigin < expected) void guard.look();
  // The subject is as expected, so the number that the server told is the log's.
  const lastSeq =
    expectedLastSeq !== undefined && lastSeqOfOrigin === expected ? error?.actualLastSequence : undefined;
  // It remembers for a while what it stored, also what somebody takes away.
  const isGone = lastSeqOfOrigin === expected && expectedLastSeq === undefined;
  const orLog = expectedLastSeq === undefined ? '' : `, or the log at ${expectedLastSeq}`;
  const message = isGone
    ? `The log stored an entry of ${subject} behind the expected end (${expected}), and no longer holds it: it was removed or trimmed. Find out who did it. Before you publish more, compare the log with what was published.`
    : `The newest entry of ${subject} is ${lastSeqOfOrigin}, and was expected to be ${expected}${orLog}. Somebody else has appended. Read the log, then try again.`;
  return {
    type: 'refused',
    error: refused(error, message, { cluster, id }),
    lastSeqOfOrigin,
    ...(lastSeq === undefined ? {} : { lastSeq }),
  };
}

function isOf(entry: StoredMessage | undefined, { id, subject }: PendingAppend): entry is StoredMessage {
  if (entry?.subject !== subject) return false;
  return attemptOf(entry) === id;
}

/** The id of the append that a message was stored by. */
export function attemptOf(message: StoredMessage): string | undefined {
  return message.header(ATTEMPT_HEADER) ?? message.header('Nats-Msg-Id');
}

function timeLeft({ deadlineMs }: PendingAppend): CallOptions {
  return { timeoutMs: Math.max(1, deadlineMs - performance.now()) };
}

function refused(
  cause: ApiError | undefined,
  message: string,
  context: Readonly<Record<string, unknown>>,
): AntiphonError {
  return new AntiphonError('LOG_REFUSED', message, { cause, retriable: true, context });
}
