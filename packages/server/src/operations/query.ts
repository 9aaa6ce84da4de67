import type { QueryOptions, VectorClock } from '@antiphon/replica';
import { placedQuery, rowObjects } from '@antiphon/replica/internal';
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
    return { columns, rows: rowObjects(result, 'bigint'), position };
  };
}

function sessionOf({
  generation,
  seq,
  vector,
}: NonNullable<Body['after']>): NonNullable<QueryOptions['after']> {
  // The replica looks at it.
  return { generation, seq, ...(vector !== undefined && { vector: vector as VectorClock }) };
}
