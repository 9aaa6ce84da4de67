import { z } from 'zod';
import { HALF_A_PAIR, NO_UTF8 } from './json-value.js';

/** What the requests and answers look like: checked, and shown by /openapi.json. */

const MAX_TIMEOUT_MS = 300_000;
const MAX_STATEMENTS = 10_000;
const MAX_ROWS = 10_000;
const MAX_ACKS = 1000;

const whole = (max: number) => z.int().min(1).max(max);

const jsonValue = z
  .union([
    z.null(),
    z.boolean(),
    z.number(),
    z.string(),
    z.strictObject({ base64: z.string(), tag: z.string().optional() }),
    z.strictObject({ integer: z.string() }),
    z.strictObject({ real: z.union([z.number(), z.enum(['Infinity', '-Infinity'])]) }),
  ])
  .describe('A value: bytes are {"base64": base64}, large integers {"integer": digits}.');

/**
 * Shown, and not checked: a list of hundreds of thousands of things that are no values would cost
 * seconds here, while it is converted up to the first of them anyway.
 */
function shownOnly(schema: z.ZodType, description: string) {
  const { $schema: _, ...shown } = z.toJSONSchema(schema, { io: 'input' });
  return z.unknown().meta({ ...shown, description });
}

const sql = z.string().refine((text) => !HALF_A_PAIR.test(text), NO_UTF8);

const params = shownOnly(
  z.union([z.array(jsonValue), z.record(z.string(), jsonValue)]),
  'A list for ?, or an object for :name, @name and $name.',
);

const expectedRows = z
  .int()
  .min(0)
  .describe('How many rows it has to change: with another number, nothing of the transaction is kept.');

const vector = shownOnly(z.record(z.string(), z.int().min(0)), 'Counters of transactions, by their origin.');

const sessionToken = z
  .strictObject({ generation: z.string(), seq: z.int().min(0), vector: vector.optional() })
  .describe('The `position` of an earlier answer.');

const timeoutMs = whole(MAX_TIMEOUT_MS).optional().describe('How long it may take, in milliseconds.');

export const executeBody = z.strictObject({
  statements: z
    .array(z.strictObject({ sql, params: params.optional(), rows: expectedRows.optional() }))
    .min(1)
    .max(MAX_STATEMENTS)
    .describe('Run in one transaction, in this order.'),
  acks: z
    .union([z.enum(['all', 'majority', 'logged', 'local']), whole(MAX_ACKS)])
    .optional()
    .describe('Which databases the write waits for, in a synchronous cluster.'),
  requestId: z
    .string()
    .regex(/^[\x20-\x7e]{1,200}$/, 'must be 1 to 200 printable ASCII characters')
    .optional()
    .describe('In a cluster with failover: however often it is sent, it is written once.'),
  timeoutMs,
});

export const executeAnswer = z.object({
  outcome: z.literal('committed'),
  id: z.object({ origin: z.string(), counter: z.int() }).optional(),
  position: sessionToken,
  changes: z.array(z.int()).describe('How many rows each statement changed.'),
  acks: z
    .object({
      level: z.union([z.string(), z.int()]),
      by: z.array(z.string()),
      missing: z.array(z.string()),
      reached: z.boolean(),
    })
    .optional(),
  degraded: z.literal(true).optional(),
  repeated: z.literal(true).optional(),
});

export const queryBody = z.strictObject({
  sql,
  params: params.optional(),
  consistency: z.enum(['any', 'bounded', 'session', 'strong']).optional(),
  maxLagMs: whole(MAX_TIMEOUT_MS).optional().describe("With 'bounded': how old the answer may be."),
  after: sessionToken.optional().describe("With 'session': the `position` of an earlier answer."),
  maxRows: whole(MAX_ROWS).optional().describe('More rows are an error.'),
  timeoutMs,
});

export const queryAnswer = z.object({
  columns: z.array(z.string()),
  rows: z.array(z.record(z.string(), jsonValue)),
  position: sessionToken
    .optional()
    .describe('Absent where the replica cannot tell now: another program has locked its database.'),
});

export const changesQuery = z.strictObject({
  tables: z
    .string()
    .min(1)
    .optional()
    .describe('Names with commas between them. Default: every table of the cluster.'),
  from: z
    .string()
    .min(1)
    .optional()
    .describe('"now" (default), "beginning", or the `id` of an event. `Last-Event-ID` comes first.'),
});

const probe = z.object({
  state: z.string(),
  live: z.boolean(),
  ready: z.boolean(),
  problems: z.array(z.string()).optional().describe('Only for those who may read.'),
});
export const probeAnswer = probe;

export const lagQuery = z.strictObject({
  maxLagMs: z.coerce
    .number()
    .int()
    .min(1)
    .max(86_400_000)
    .optional()
    .describe('503 also when it is further behind than this.'),
});

export const nothing = z.strictObject({});

export const statusAnswer = z.looseObject({ id: z.string(), cluster: z.string(), lifecycle: z.string() });

export const errorAnswerBody = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    retriable: z.boolean(),
    context: z.record(z.string(), z.unknown()),
  }),
});
