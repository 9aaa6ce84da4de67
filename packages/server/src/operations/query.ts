import { AntiphonError } from '@antiphon/core';
import type { QueryOptions, Replica, SessionPosition, StreamOptions, VectorClock } from '@antiphon/replica';
import { placedQuery, placedStream, type PlacedStream, rowObjects } from '@antiphon/replica/internal';
import type { z } from 'zod';
import type { queryBody } from '../http/schemas.js';
import type { Operation } from './operation.js';
import { toParams, type ValueOf } from './params.js';

type Body = z.output<typeof queryBody>;

/** `maxBytes`: of the result, about. Throws BAD_OPTION. */
export function queryOf(body: Body, valueOf: ValueOf, maxBytes: number): Operation {
  const { sql, params, consistency, maxLagMs, after, maxRows, timeoutMs } = body;
  const options: QueryOptions = {
    maxBytes,
    ...(consistency !== undefined && { consistency }),
    ...(maxLagMs !== undefined && { maxLagMs }),
    ...(after !== undefined && { after: sessionOf(after) }),
    ...(maxRows !== undefined && { maxRows }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
  const values = toParams(params, 'params', valueOf);
  return async (replica, signal) => {
    const result = await placedQuery(replica, sql, values, { ...options, signal });
    const { columns, position } = result;
    return { columns, rows: rowObjects(result, 'bigint'), ...(position && { position }) };
  };
}

/**
 * As `queryOf`, for any number of rows. Whoever opened it closes it. Throws BAD_OPTION.
 */
export function streamOf(
  body: Body,
  valueOf: ValueOf,
): (replica: Replica<unknown>, signal: AbortSignal) => Promise<PlacedStream> {
  const { sql, params, consistency, maxLagMs, after, maxRows, timeoutMs } = body;
  if (maxRows !== undefined) {
    const message = '`maxRows` is for an answer in one piece. Leave it out, or add LIMIT to the statement.';
    throw new AntiphonError('BAD_OPTION', message);
  }
  const options: StreamOptions = {
    ...(consistency !== undefined && { consistency }),
    ...(maxLagMs !== undefined && { maxLagMs }),
    ...(after !== undefined && { after: sessionOf(after) }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    // Nobody asks for a row while the last ones have not gone: `slowReaderMs` ends that.
    idleMs: Number.MAX_SAFE_INTEGER,
  };
  const values = toParams(params, 'params', valueOf);
  return (replica, signal) => placedStream(replica, sql, values, { ...options, signal });
}

/** The replica looks at it. */
export function sessionOf({ generation, seq, vector }: NonNullable<Body['after']>): SessionPosition {
  return { generation, seq, ...(vector !== undefined && { vector: vector as VectorClock }) };
}
