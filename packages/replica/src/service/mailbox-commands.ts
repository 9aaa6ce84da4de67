import type { RemoteCommands } from '@antiphon/actor';
import { isRecord, parseAcks, type Value } from '@antiphon/core';
import { revivedValue } from '../repair/shown-row.js';
import type { RescueQuery } from '../failover/rescue.js';
import { parseRemoval } from '../membership/remove-member.js';
import { parseOutcomeRequest } from '../read/outcome.js';
import type { Consistency } from '../read/read.js';
import type { QuarantineQuery } from '../repair/quarantine.js';
import { parseRecapture } from '../repair/recapture.js';
import { parseSessionToken } from '../state/session.js';
import { assertRequestId } from '../write/request-id.js';
import { bad, parseParams, parseStatements } from '../write/statement.js';
import type { MailboxProtocol } from './mailbox-protocol.js';
import type { StreamRequest } from './served-streams.js';

const MAX_QUERY_ROWS = 10_000;
const MAX_DIGESTS = 5000;
const MAX_OUTCOMES = 1000;
export const MAX_HOLD_MS = 60_000;
const MAX_EXECUTE_MS = 300_000;
const CALL = /^[0-9a-f-]{36}$/;
const DEFAULT_TAKE_OVER_MS = 10_000;
export const MAX_CHECKSUM_MS = 24 * 3600 * 1000;
const MAX_STREAM_MS = 24 * 3600 * 1000;
/** A reader that has died without a word keeps a snapshot for so long at most. */
const MAX_IDLE_MS = 600_000;

/** What may come from outside, and what of it is accepted. */
export const COMMANDS: RemoteCommands<MailboxProtocol> = {
  ping: () => undefined,
  status: () => undefined,
  standing: () => undefined,
  beat: () => undefined,
  drain: () => undefined,
  resume: () => undefined,
  candidacy: () => undefined,
  durable: (input) => ({ origin: String(record(input)['origin']) }),
  outcomes: (input) => ({
    fromSeq: whole('fromSeq', record(input)['fromSeq'], Number.MAX_SAFE_INTEGER),
    limit: whole('limit', record(input)['limit'], MAX_OUTCOMES),
  }),
  outcome: (input) => ({ id: parseOutcomeRequest(record(input)['id']) }),
  release: () => undefined,
  removeMember: (input) => parseRemoval(record(input)),
  leave: (input) => {
    const { force, timeoutMs = DEFAULT_TAKE_OVER_MS } = record(input);
    return { force: force === true, timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) };
  },
  takeOver: (input) => ({
    timeoutMs: whole('timeoutMs', record(input)['timeoutMs'] ?? DEFAULT_TAKE_OVER_MS, MAX_EXECUTE_MS),
  }),
  epochs: () => undefined,
  rescues: (input) => parseRescueQuery(input),
  rescued: (input) => {
    const { id, after } = record(input);
    return { id: whole('id', id, Number.MAX_SAFE_INTEGER), after: from0('after', after) };
  },
  rescuedData: (input) => {
    const { id, part, offset } = record(input);
    return {
      id: whole('id', id, Number.MAX_SAFE_INTEGER),
      part: from0('part', part),
      offset: from0('offset', offset),
    };
  },
  reapplyRescued: (input) => {
    const { id, force } = record(input);
    return { id: whole('id', id, Number.MAX_SAFE_INTEGER), force: force === true };
  },
  dismissRescued: (input) => ({ id: whole('id', record(input)['id'], Number.MAX_SAFE_INTEGER) }),
  writeRescued: (input) => {
    const { data, force } = record(input);
    if (!(data instanceof Uint8Array)) throw bad('data', 'the changes of a transaction');
    return { data, force: force === true };
  },
  switchOver: (input) => {
    const { to, timeoutMs = DEFAULT_TAKE_OVER_MS, beforeMs } = record(input);
    if (typeof to !== 'string') throw bad('to', 'the id of a replica');
    return {
      ...{ to, timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) },
      ...(beforeMs !== undefined && { beforeMs: whole('beforeMs', beforeMs, Number.MAX_SAFE_INTEGER) }),
    };
  },
  recapture: (input) => parseRecapture(record(input)),
  execute: (input) => {
    const request = record(input);
    const { timeoutMs, acks, requestId, forwarded, epoch, call, again } = request;
    const { lostPrimaries, lostEpoch } = request;
    if (requestId !== undefined) assertRequestId(requestId);
    return {
      statements: parseStatements(request['statements']),
      ...(timeoutMs === undefined ? {} : { timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) }),
      ...(acks === undefined || acks === null ? {} : { acks: parseAcks(acks) }),
      ...(requestId === undefined ? {} : { requestId }),
      ...(forwarded === true && { forwarded }),
      ...(epoch === undefined ? {} : { epoch: whole('epoch', epoch, Number.MAX_SAFE_INTEGER) }),
      ...(call === undefined ? {} : { call: callName(call), again: again === true }),
      ...(lostPrimaries === undefined ? {} : { lostPrimaries: from0('lostPrimaries', lostPrimaries) }),
      ...(lostEpoch === undefined ? {} : { lostEpoch: from0('lostEpoch', lostEpoch) }),
    };
  },
  withdraw: (input) => {
    const { requestId, call } = record(input);
    assertRequestId(requestId);
    return { requestId, call: callName(call) };
  },
  query: (input) => {
    const request = record(input);
    if (typeof request['sql'] !== 'string') throw bad('sql', 'a statement');
    const maxRows = whole('maxRows', request['maxRows'] ?? MAX_QUERY_ROWS, MAX_QUERY_ROWS);
    const { consistency, after, maxLagMs, waitMs, timeoutMs, placed } = request;
    return {
      ...(placed === true && { placed }),
      sql: request['sql'],
      params: parseParams(request['params']),
      maxRows,
      ...(consistency === undefined ? {} : { consistency: parseConsistency(consistency) }),
      ...(after === undefined ? {} : { after: parseSessionToken(after) }),
      ...(maxLagMs === undefined ? {} : { maxLagMs: whole('maxLagMs', maxLagMs, MAX_EXECUTE_MS) }),
      ...(waitMs === undefined ? {} : { waitMs: whole('waitMs', waitMs, MAX_EXECUTE_MS) }),
      ...(timeoutMs === undefined ? {} : { timeoutMs: whole('timeoutMs', timeoutMs, MAX_EXECUTE_MS) }),
    };
  },
  stream: (input) => parseStreamRequest(record(input)),
  checksum: (input) => {
    const { tables, timeoutMs } = record(input ?? {});
    const limit =
      timeoutMs === undefined ? {} : { timeoutMs: whole('timeoutMs', timeoutMs, MAX_CHECKSUM_MS) };
    if (tables === undefined) return limit;
    if (!Array.isArray(tables) || !tables.every((table): table is string => typeof table === 'string')) {
      throw bad('tables', 'a list of table names');
    }
    return { tables, ...limit };
  },
  rowDigests: (input) => {
    const request = record(input);
    const { table, afterKey } = request;
    if (typeof table !== 'string') throw bad('table', 'a table name');
    const limit = whole('limit', request['limit'], MAX_DIGESTS);
    if (afterKey === undefined || afterKey === null) return { table, limit };
    if (!Array.isArray(afterKey)) throw bad('afterKey', 'a list of key values');
    return { table, limit, afterKey: parseParams(afterKey.map(revivedValue)) as readonly Value[] };
  },
  resend: (input) => ({ from: whole('from', record(input)['from'], Number.MAX_SAFE_INTEGER) }),
  quarantine: parseQuarantineQuery,
  quarantined: (input) => ({ seq: whole('seq', record(input)['seq'], Number.MAX_SAFE_INTEGER) }),
  retry: parseQuarantineQuery,
  discard: parseQuarantineQuery,
  conflicts: (input) => {
    const { beforeId } = record(input ?? {});
    return beforeId === undefined ? {} : { beforeId: whole('beforeId', beforeId, Number.MAX_SAFE_INTEGER) };
  },
  hold: (input) => ({ holdMs: whole('holdMs', record(input)['holdMs'], MAX_HOLD_MS) }),
};

function parseStreamRequest(request: Readonly<Record<string, unknown>>): StreamRequest {
  const { type, stream, sql, consistency, after } = request;
  if (typeof stream !== 'string' || !CALL.test(stream)) throw bad('stream', 'the id of a stream');
  if (type === 'next' || type === 'keep' || type === 'end') return { type, stream };
  if (type !== 'open') throw bad('type', "'open', 'next', 'keep' or 'end'");
  if (typeof sql !== 'string') throw bad('sql', 'a statement');
  const limits = ['maxLagMs', 'waitMs', 'timeoutMs', 'idleMs'] as const;
  const given = limits.filter((name) => request[name] !== undefined);
  return {
    ...{ type, stream, sql, params: parseParams(request['params']) },
    ...(consistency === undefined ? {} : { consistency: parseConsistency(consistency) }),
    ...(after === undefined ? {} : { after: parseSessionToken(after) }),
    ...Object.fromEntries(
      given.map((name) => [
        name,
        whole(name, request[name], name === 'idleMs' ? MAX_IDLE_MS : MAX_STREAM_MS),
      ]),
    ),
  };
}

function parseQuarantineQuery(input: unknown): QuarantineQuery {
  const { seq, afterId } = record(input ?? {});
  return {
    ...(seq === undefined ? {} : { seq: whole('seq', seq, Number.MAX_SAFE_INTEGER) }),
    ...(afterId === undefined ? {} : { afterId: whole('afterId', afterId, Number.MAX_SAFE_INTEGER) }),
  };
}

function parseRescueQuery(input: unknown): RescueQuery {
  const { afterId, state } = record(input ?? {});
  if (state !== undefined && state !== 'kept' && state !== 'reapplied' && state !== 'dismissed')
    throw bad('state', "'kept', 'reapplied' or 'dismissed'");
  return {
    ...(afterId === undefined ? {} : { afterId: whole('afterId', afterId, Number.MAX_SAFE_INTEGER) }),
    ...(state === undefined ? {} : { state }),
  };
}

function parseConsistency(input: unknown): Consistency {
  if (input === 'any' || input === 'bounded' || input === 'session' || input === 'strong') return input;
  throw bad('consistency', "'any', 'bounded', 'session' or 'strong'");
}

function record(input: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(input)) return input;
  throw bad('the request', 'a map');
}

function callName(input: unknown): string {
  if (typeof input === 'string' && CALL.test(input)) return input;
  throw bad('call', 'the id of a call');
}

function from0(name: string, input: unknown): number {
  return input === undefined || input === 0 ? 0 : whole(name, input, Number.MAX_SAFE_INTEGER);
}

function whole(name: string, input: unknown, max: number): number {
  const number = typeof input === 'bigint' ? Number(input) : input;
  if (typeof number === 'number' && Number.isInteger(number) && number > 0 && number <= max) return number;
  throw bad(name, `a whole number from 1 to ${max}`);
}
