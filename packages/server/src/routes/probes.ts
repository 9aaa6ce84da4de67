import type { z } from 'zod';
import { lagQuery, nothing, probeAnswer } from '../http/schemas.js';
import { type Answer, type Route, route, type Service } from './route.js';

type Holds = (found: Found) => boolean;

interface Found {
  readonly live: boolean;
  /** Of the whole service: false as soon as it begins to close. */
  readonly ready: boolean;
  readonly state: string;
  readonly role: string;
  readonly lagMs: number;
}

/**
 * A load balancer that gets 503 from `/replica` sends no reads, and from `/primary` no writes. The
 * names are those of Patroni, so that a configuration for it fits.
 */
export const probeRoutes: readonly Route[] = [
  probe('/livez', 'Whether the process has to be restarted.', ({ live }) => live),
  probe('/readyz', 'In step with the cluster, and neither drained nor closing.', ({ ready }) => ready),
  probe(
    '/primary',
    'The primary that holds its lease, or a replica of several that take writes.',
    isWritable,
  ),
  lagProbe('/replica', 'A replica that serves reads, and is not the primary.', ({ ready, role }) => {
    return ready && role !== 'primary';
  }),
  lagProbe('/read-only', 'A replica that serves reads, the primary included.', ({ ready }) => ready),
];

/** A primary writes on while NATS is away, as long as it has its lease. */
function isWritable({ state, role, ready, live }: Found): boolean {
  return role === 'peer' ? ready : live && state === 'primary';
}

function probe(path: string, summary: string, holds: Holds): Route {
  return route({
    ...spec(path, summary),
    query: nothing,
    run: (service, { role }) => Promise.resolve(answer(service, role !== undefined, holds)),
  });
}

function lagProbe(path: string, summary: string, holds: Holds): Route {
  return route({
    ...spec(path, summary),
    query: lagQuery,
    run: (service, { role, query: { maxLagMs = Infinity } }) => {
      const inTime: Holds = (found) => holds(found) && found.lagMs <= maxLagMs;
      return Promise.resolve(answer(service, role !== undefined, inTime));
    },
  });
}

function spec(path: string, summary: string) {
  const answers: Record<number, { what: string; schema: z.ZodType }> = {
    200: { what: 'Yes.', schema: probeAnswer },
    503: { what: 'No.', schema: probeAnswer },
  };
  return { method: 'GET', path, summary, answers } as const;
}

function answer({ replica, draining }: Service, mayRead: boolean, holds: Holds): Answer {
  const { live, ready, state, problems } = replica.healthcheck();
  const { role, lag } = replica.status();
  const isClosing = draining.aborted;
  // What closes is alive until it has ended, and takes no new work.
  const found = { live, ready: ready && !isClosing, state, role, lagMs: lag.seconds * 1000 };
  const said = isClosing ? ['This server is closing.', ...problems] : problems;
  const body = { state, live, ready: found.ready, ...(mayRead && { problems: said }) };
  return { status: holds(found) ? 200 : 503, body };
}
