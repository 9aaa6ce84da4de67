import { nothing } from '../http/schemas.js';
import { route } from './route.js';

export const metricsRoute = route({
  method: 'GET',
  path: '/metrics',
  summary: 'For Prometheus.',
  role: 'read',
  query: nothing,
  answers: { 200: { what: 'In the text format of Prometheus.' } },
  type: 'text/plain',
  run: async ({ replica, metrics }) => {
    const { text, type } = await metrics.render(replica.status());
    return { body: text, type };
  },
});
