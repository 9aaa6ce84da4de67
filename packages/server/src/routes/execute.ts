import { fromJsonValue } from '../http/json-value.js';
import { executeAnswer, executeBody, nothing } from '../http/schemas.js';
import { executeOf } from '../operations/execute.js';
import { route } from './route.js';

export const executeRoute = route({
  method: 'POST',
  path: '/v1/execute',
  summary: 'Runs statements in one transaction.',
  role: 'write',
  body: executeBody,
  query: nothing,
  answers: { 200: { what: 'It is committed.', schema: executeAnswer } },
  run: async ({ replica, requests }, { body, signal, reply }) => {
    const execute = executeOf(body, fromJsonValue);
    const release = requests.takeFor(reply.raw);
    try {
      return { body: await execute(replica, signal) };
    } finally {
      release();
    }
  },
});
