import { fromJsonValue, ofDatabase, toJsonTree } from '../http/json-value.js';
import { NDJSON, RowLines, wantsLines } from '../http/row-lines.js';
import { nothing, queryAnswer, queryBody } from '../http/schemas.js';
import { queryOf, streamOf } from '../operations/query.js';
import { route } from './route.js';

export const queryRoute = route({
  method: 'POST',
  path: '/v1/query',
  summary: 'Reads the database of this replica.',
  role: 'read',
  body: queryBody,
  query: nothing,
  answers: {
    200: {
      what: `The rows, as objects. With \`Accept: ${NDJSON}\`: as lines, as docs/http.md has them.`,
      schema: queryAnswer,
    },
  },
  run: async (service, { body, headers, signal, reply }) => {
    const { replica, requests, limits, streams, ending } = service;
    if (wantsLines(headers.accept)) {
      const open = streamOf(body, fromJsonValue);
      const release = streams.take();
      try {
        const stream = await open(replica, AbortSignal.any([signal, ending]));
        await new RowLines(service, reply).send(stream);
      } finally {
        release();
      }
      return undefined;
    }
    const query = queryOf(body, fromJsonValue, limits.resultBytes);
    const release = requests.takeFor(reply.raw);
    try {
      const { rows, ...answer } = await query(replica, signal);
      return { body: toJsonTree({ ...answer, rows: ofDatabase(rows) }) };
    } finally {
      release();
    }
  },
});
