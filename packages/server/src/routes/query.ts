import type { QueryOptions, VectorClock } from '@antiphon/replica';
import { placedQuery, rowObjects } from '@antiphon/replica/internal';
import { toJsonTree } from '../http/json-value.js';
import { nothing, queryAnswer, queryBody } from '../http/schemas.js';
import { toParams } from './execute.js';
import { route } from './route.js';

export const queryRoute = route({
  method: 'POST',
  path: '/v1/query',
  summary: 'Reads the database of this replica.',
  role: 'read',
  body: queryBody,
  query: nothing,
  answers: { 200: { what: 'The rows, as objects.', schema: queryAnswer } },
  run: async ({ replica, requests, limits }, { body, signal, reply }) => {
    const { sql, params, consistency, maxLagMs, after, maxRows, timeoutMs } = body;
    const options: QueryOptions = {
      signal,
      maxBytes: limits.resultBytes,
      ...(consistency !== undefined && { consistency }),
      ...(maxLagMs !== undefined && { maxLagMs }),
      ...(after !== undefined && { after: sessionOf(after) }),
      ...(maxRows !== undefined && { maxRows }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    };
    const values = toParams(params, 'params');
    const release = requests.takeFor(reply.raw);
    try {
      const result = await placedQuery(replica, sql, values, options);
      const rows = rowObjects(result, 'bigint');
      return { body: { columns: result.columns, rows: toJsonTree(rows), position: result.position } };
    } finally {
      release();
    }
  },
});

type Given = NonNullable<(typeof queryBody)['_output']['after']>;

function sessionOf({ generation, seq, vector }: Given): NonNullable<QueryOptions['after']> {
  // The replica looks at it.
  return { generation, seq, ...(vector !== undefined && { vector: vector as VectorClock }) };
}
