import { fromJsonValue, toJsonTree } from '../http/json-value.js';
import { nothing, queryAnswer, queryBody } from '../http/schemas.js';
import { queryOf } from '../operations/query.js';
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
    const query = queryOf(body, fromJsonValue, limits.resultBytes);
    const release = requests.takeFor(reply.raw);
    try {
      return { body: toJsonTree(await query(replica, signal)) };
    } finally {
      release();
    }
  },
});
