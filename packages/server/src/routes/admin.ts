import { nothing, statusAnswer } from '../http/schemas.js';
import { type Route, route } from './route.js';

/** As `antiphon drain` and `antiphon resume`. */
export const adminRoutes: readonly Route[] = [
  reads('/v1/admin/drain', 'No new reads come here, and it is not ready, until it is resumed.', 'drain'),
  reads('/v1/admin/resume', 'Ends that.', 'resume'),
];

function reads(path: string, summary: string, action: 'drain' | 'resume'): Route {
  return route({
    ...{ method: 'POST', path, summary, role: 'admin' },
    body: nothing,
    query: nothing,
    answers: { 200: { what: 'Its place among those that serve reads.', schema: statusAnswer } },
    run: ({ replica }) => {
      replica.reads[action]();
      return Promise.resolve({ body: replica.reads.status });
    },
  });
}
