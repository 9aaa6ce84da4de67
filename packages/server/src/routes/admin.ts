import { readsBody } from '../http/cluster-schemas.js';
import { nothing, statusAnswer } from '../http/schemas.js';
import { type Route, route } from './route.js';

const ASK_MS = 5000;

/** As `antiphon drain` and `antiphon resume`. */
export const adminRoutes: readonly Route[] = [
  reads('/v1/admin/drain', 'No new reads come here, and it is not ready, until it is resumed.', 'drain'),
  reads('/v1/admin/resume', 'Ends that.', 'resume'),
];

function reads(path: string, summary: string, action: 'drain' | 'resume'): Route {
  return route({
    ...{ method: 'POST', path, summary, role: 'admin' },
    body: readsBody,
    query: nothing,
    answers: { 200: { what: 'Its place among those that serve reads.', schema: statusAnswer } },
    run: async ({ replica: own, cluster }, { body: { replica: id = own.id }, signal }) => {
      if (id === own.id) {
        own.reads[action]();
        return { body: own.reads.status };
      }
      const wait = { timeoutMs: ASK_MS, signal };
      const other = cluster.member(id);
      await other.ask(action, undefined, wait);
      return { body: (await other.ask('status', undefined, wait)).reads };
    },
  });
}
