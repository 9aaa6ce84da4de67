import { z } from 'zod';
import { queryAnswer, queryBody } from './schemas.js';

/** Requests about the whole cluster, and what comes back: checked, and shown by /openapi.json. */

const MAX_SWITCHOVER_MS = 100_000;
const MAX_FAILOVER_MS = 300_000;
const MAX_TABLES = 1000;

const replica = z.string().min(1).describe('The id of a replica.');
const number = z.int().min(1);
/** In the query of an address, everything is text. */
const numberText = z.coerce.number().int().min(1);

const failed = z.object({ code: z.string(), message: z.string() });
const perReplica = z.looseObject({ id: z.string(), error: failed.optional() });
const anything = z.looseObject({});

export const clusterAnswer = z.object({
  cluster: z.string(),
  seenBy: z.string().describe('The replica that has asked the others.'),
  atMs: z.int(),
  role: z.string().describe('What the bearer of the token may do.'),
  primary: z.string().optional(),
  failover: z.object({ mode: z.string(), leaseMs: z.number() }).optional(),
  members: z.array(
    z.object({
      id: z.string(),
      status: z.looseObject({}).optional().describe('As `GET /v1/status` of it; absent without an answer.'),
      tookMs: z.number().optional(),
      error: failed.optional(),
    }),
  ),
});

export const epochsAnswer = z.object({
  seenBy: z.string().describe('The replica that has read furthest.'),
  epochs: z.array(anything),
});

export const candidatesAnswer = z.object({
  failover: z.enum(['automatic', 'manual', 'none']),
  primary: z.string().optional(),
  answers: z.boolean().describe('The primary does.'),
  candidates: z.array(z.looseObject({ id: z.string(), place: z.int().nullable(), reason: z.string() })),
});

export const rescuesQuery = z.strictObject({
  state: z.enum(['kept', 'all']).optional().describe('Default: kept.'),
});

export const rescueQuery = z.strictObject({ replica, id: numberText });
export const failoverQuery = z.strictObject({ to: replica });
export const quarantinedQuery = z.strictObject({ replica, seq: numberText });

export const ledgersAnswer = z.object({ replicas: z.array(perReplica) });
export const detailAnswer = z.looseObject({ replica: z.string() });

export const clusterQueryBody = queryBody.extend({
  replica: replica.optional().describe('Default: the one of this server.'),
});
export const clusterQueryAnswer = queryAnswer.extend({ replica: z.string(), tookMs: z.number() });

export const readsBody = z
  .strictObject({ replica: replica.optional().describe('Default: the one of this server.') })
  .prefault({});

export const switchoverBody = z.strictObject({
  to: replica,
  timeoutMs: number.max(MAX_SWITCHOVER_MS).optional().describe('How long writes may wait. Default: 10 000.'),
});

export const failoverPlanAnswer = z.object({
  to: z.string(),
  primary: z.string().describe('The one that it is now.'),
  answers: z.boolean().describe('The primary does: then a failover needs `force`.'),
  says: z.array(z.string()).describe('What happens, and what may be lost.'),
});
export const failoverBody = z.strictObject({
  to: replica,
  force: z.boolean().optional().describe('Also while the primary still answers.'),
  timeoutMs: number
    .max(MAX_FAILOVER_MS)
    .optional()
    .describe('How long it may take to read the log to its end. Default: 10 000.'),
});

export const reapplyBody = z.strictObject({
  replica,
  id: number,
  force: z.boolean().optional().describe('Also over rows that others have changed since.'),
});
export const dismissBody = z.strictObject({ replica, id: number });

export const retryBody = z.strictObject({
  replica,
  seq: number.optional().describe('An entry of the log. Default: everything.'),
});
export const discardBody = z.strictObject({ replica, seq: number });

export const verifyBody = z.strictObject({
  tables: z.array(z.string().min(1)).min(1).max(MAX_TABLES).optional().describe('Default: all.'),
});
export const verifyAnswer = z.looseObject({
  outcome: z.enum(['equal', 'different', 'unsettled']),
  absent: z.array(z.object({ id: z.string(), reason: z.string() })),
});
