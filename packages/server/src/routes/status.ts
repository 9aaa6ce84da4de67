import { toJsonTree } from '../http/json-value.js';
import { nothing, statusAnswer } from '../http/schemas.js';
import { route } from './route.js';

export const statusRoute = route({
  method: 'GET',
  path: '/v1/status',
  summary: 'Everything that an operator asks first.',
  role: 'read',
  query: nothing,
  answers: { 200: { what: 'As `antiphon status`.', schema: statusAnswer } },
  run: ({ replica }) => Promise.resolve({ body: toJsonTree(replica.status()) }),
});
