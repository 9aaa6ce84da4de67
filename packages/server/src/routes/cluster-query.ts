import { placedQuery, rowObjects } from '@antiphon/replica/internal';
import { clusterQueryAnswer, clusterQueryBody } from '../http/cluster-schemas.js';
import { fromJsonValue, ofDatabase, toJsonTree } from '../http/json-value.js';
import { nothing } from '../http/schemas.js';
import { toParams } from '../operations/params.js';
import { sessionOf } from '../operations/query.js';
import { route } from './route.js';

const DEFAULT_ROWS = 1000;
const DEFAULT_TIMEOUT_MS = 10_000;
/** The answer comes a little after the replica has given up. */
const ANSWER_MS = 2000;

export const clusterQueryRoute = route({
  method: 'POST',
  path: '/v1/cluster/query',
  summary: 'Reads the database of a replica that the request names.',
  role: 'read',
  body: clusterQueryBody,
  query: nothing,
  answers: { 200: { what: 'The rows, as objects, and who has answered.', schema: clusterQueryAnswer } },
  run: async ({ replica: own, cluster, requests, limits }, { body, signal, reply }) => {
    const { replica: id = own.id, sql, consistency, maxLagMs, after } = body;
    const { maxRows = DEFAULT_ROWS, timeoutMs = DEFAULT_TIMEOUT_MS } = body;
    const params = toParams(body.params, 'params', fromJsonValue);
    const options = {
      ...{ maxRows, timeoutMs },
      ...(consistency !== undefined && { consistency }),
      ...(maxLagMs !== undefined && { maxLagMs }),
      ...(after !== undefined && { after: sessionOf(after) }),
    };
    const wait = { timeoutMs: timeoutMs + ANSWER_MS, signal };
    const release = requests.takeFor(reply.raw);
    try {
      const askedMs = performance.now();
      const { columns, position, ...result } =
        id === own.id
          ? await placedQuery(own, sql, params, { ...options, signal, maxBytes: limits.resultBytes })
          : await cluster.member(id).ask('query', { sql, params, ...options }, wait);
      const tookMs = performance.now() - askedMs;
      const rows = ofDatabase(rowObjects({ columns, ...result }, 'bigint'));
      return { body: toJsonTree({ replica: id, tookMs, columns, rows, position }) };
    } finally {
      release();
    }
  },
});
