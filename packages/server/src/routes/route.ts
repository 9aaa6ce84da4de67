import type { Logger, Replica } from '@antiphon/replica';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { parseInput } from '../http/parse-input.js';
import type { ClusterWatch } from '../cluster/cluster-watch.js';
import type { OwnCluster } from '../cluster/own-cluster.js';
import type { ServerMetrics } from '../service/metrics.js';
import type { ServerLimits } from '../service/options.js';
import type { Slots } from '../service/slots.js';
import type { ServerRole } from '../service/tokens.js';

/** What the routes share. */
export interface Service {
  readonly replica: Replica<unknown>;
  readonly limits: ServerLimits;
  readonly logger: Logger;
  readonly metrics: ServerMetrics;
  readonly requests: Slots;
  readonly streams: Slots;
  /** Comparisons of whole databases under way. */
  readonly comparisons: Slots;
  readonly cluster: OwnCluster;
  readonly watch: ClusterWatch;
  /** Aborts at the beginning of `close`. */
  readonly draining: AbortSignal;
  /** Aborts when streams have to end. */
  readonly ending: AbortSignal;
}

export interface Input<B, Q> {
  readonly body: B;
  readonly query: Q;
  readonly headers: FastifyRequest['headers'];
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal;
  /** What the client may do; undefined: only what is open to everybody. */
  readonly role: ServerRole | undefined;
  /** For a route that writes its answer itself. */
  readonly reply: FastifyReply;
}

export interface Answer {
  readonly status?: number;
  /** JSON, or text where `type` says so. */
  readonly body: unknown;
  readonly type?: string;
}

/** `undefined` from `run`: it has written the answer itself. */
export interface RouteSpec<B extends z.ZodType, Q extends z.ZodType> {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly summary: string;
  /** Absent: open to everybody. */
  readonly role?: ServerRole;
  readonly body?: B;
  readonly query: Q;
  /** By status, other than errors. */
  readonly answers: Readonly<Record<number, { readonly what: string; readonly schema?: z.ZodType }>>;
  /** Of the answers; JSON when it is left out. */
  readonly type?: string;
  run(service: Service, input: Input<z.output<B>, z.output<Q>>): Promise<Answer | undefined>;
}

export interface Route extends Omit<RouteSpec<z.ZodType, z.ZodType>, 'run'> {
  run(service: Service, input: Input<unknown, unknown>): Promise<Answer | undefined>;
}

/** Checks the input of a route before it runs. */
export function route<B extends z.ZodType, Q extends z.ZodType>(spec: RouteSpec<B, Q>): Route {
  const { run, ...others } = spec;
  return {
    ...others,
    run: async (service, input) => {
      const query = parseInput(spec.query, input.query, 'The query of the address');
      const body = spec.body && parseInput(spec.body, input.body, 'The body');
      return run(service, { ...input, query, body: body as z.output<B> });
    },
  };
}
