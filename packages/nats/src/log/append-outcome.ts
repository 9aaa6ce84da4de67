import { AntiphonError, type AppendResult } from '@antiphon/core';
import type { ApiError } from '../jetstream/api-error.js';
import { streamName } from '../subjects.js';
import { explainConflict } from './append-conflict.js';
import type { OutcomeDeps, PendingAppend } from './pending-append.js';
import type { PublishAnswer } from './publish-answer.js';

/**
 * Errors after which JetStream has certainly stored nothing; after any other one the entry may be
 * in the log.
 */
const NOT_STORED = new Set([
  10002, // account resources exceeded
  10023, // insufficient resources
  10028, // memory resources exceeded
  10047, // storage resources exceeded
  10054, // message too large
  10060, // expected stream does not match
  10109, // the stream is sealed
]);
/** A limit of the stream, told under the number of a failed store. */
const MAXIMUM_EXCEEDED = /maximum (bytes|messages) exceeded/;
const STREAM_LIMITS: Readonly<Record<string, string>> = { bytes: 'max_bytes', messages: 'max_msgs' };
/** Limits of the server, and of the account. */
const SERVER_IS_FULL = new Set([10023, 10028, 10047]);
const ACCOUNT_IS_FULL = 10002;

/** What an answer means for the append. A promise when the log has to be read first. */
export function explainAnswer(
  answer: PublishAnswer,
  pending: PendingAppend,
  deps: OutcomeDeps,
): AppendResult | Promise<AppendResult> {
  const context = { cluster: deps.cluster, id: pending.id };
  switch (answer.type) {
    case 'stored':
      return explainStored(answer, pending, deps);
    case 'no-responders': {
      const message =
        'No log listens on the subject: JetStream is still starting, or the stream is gone. Try again.';
      return { type: 'refused', error: new AntiphonError('LOG_UNAVAILABLE', message, { context }) };
    }
    case 'unreadable': {
      const message =
        "The answer to an append is not JetStream's. Find out who else listens on the log's subjects.";
      return { type: 'unknown', error: new AntiphonError('LOG_REFUSED', message, { context }) };
    }
    case 'error':
      return explainError(answer.error, pending, deps);
  }
}

function explainStored(
  { stream, seq, duplicate }: Extract<PublishAnswer, { type: 'stored' }>,
  pending: PendingAppend,
  deps: OutcomeDeps,
): AppendResult | Promise<AppendResult> {
  const { floor, place } = pending;
  const { guard, cluster } = deps;
  const expected = streamName(cluster);
  if (stream !== expected) {
    return {
      type: 'refused',
      error: guard.replace(`The stream ${stream} takes the entries of ${expected}.`),
    };
  }
  // A new entry comes after everything that was there when it was sent, or this is another log.
  if (!duplicate && seq <= floor) {
    const message = `An entry got number ${seq} in a log that had ${floor} entries before: the stream was created anew.`;
    return { type: 'refused', error: guard.replace(message) };
  }
  guard.observe(seq);
  // Its place is taken: by itself, or by a rival.
  if (duplicate && place !== undefined) return explainConflict(undefined, pending, deps);
  return { type: 'stored', seq, duplicate };
}

function explainError(
  error: ApiError,
  pending: PendingAppend,
  deps: OutcomeDeps,
): AppendResult | Promise<AppendResult> {
  const context = { cluster: deps.cluster, id: pending.id };
  const placeTaken = error.duplicateUnderWay && pending.place !== undefined;
  if (error.wrongLast || placeTaken) return explainConflict(error, pending, deps);
  if (error.messageTooLarge) {
    const message = `${error.message}. Send less at once, or raise max_msg_size of the stream.`;
    return {
      type: 'refused',
      error: new AntiphonError('MESSAGE_TOO_LARGE', message, { cause: error, context }),
    };
  }
  const full = fullText(error);
  const text = full === undefined ? `${error.message}.` : `${error.message}. ${full}`;
  const code = error.unavailable && full === undefined ? 'LOG_UNAVAILABLE' : 'LOG_REFUSED';
  const options = { cause: error, context, retriable: !error.wrongStream };
  const type = full !== undefined || NOT_STORED.has(error.errCode) ? 'refused' : 'unknown';
  return { type, error: new AntiphonError(code, text, options) };
}

/** What to do about it; undefined when nothing is full. */
function fullText({ description, errCode }: ApiError): string | undefined {
  const [, limit = ''] = MAXIMUM_EXCEEDED.exec(description) ?? [];
  const setting = STREAM_LIMITS[limit];
  if (setting !== undefined) return `The log is full. Raise ${setting} of its stream.`;
  if (errCode === ACCOUNT_IS_FULL)
    return 'The account has no room left for streams. Raise its JetStream limits.';
  if (SERVER_IS_FULL.has(errCode))
    return 'The NATS server has no room left for streams. Raise max_file_store of its jetstream settings, or free some room.';
  return undefined;
}
