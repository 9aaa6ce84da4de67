import type { SubjectsLimits } from '@antiphon/server';
import { z } from 'zod';
import { fromText } from './from-text.js';

const MAX = 2_147_483_647;

/** Each as in the library; a missing one does not compile. */
const LIMITS: Readonly<Record<keyof SubjectsLimits, string>> = {
  bodyBytes: 'Bytes of a request. Default 1048576.',
  resultBytes: 'Bytes of the result of a query, about. Default 1048576.',
  requests: 'Reads and writes at once. Default 256.',
  timeoutMs: 'For a request that does not say so itself. Default 10000.',
  graceMs: 'For requests under way, at the end. Default 10000.',
};

function limit(name: string, text: string) {
  const least = name === 'graceMs' ? 0 : 1;
  return z.preprocess(fromText, z.number().int().min(least).max(MAX)).optional().describe(text);
}

const limitsSchema = z.strictObject(
  Object.fromEntries(Object.entries(LIMITS).map(([name, text]) => [name, limit(name, text)])) as Record<
    keyof SubjectsLimits,
    ReturnType<typeof limit>
  >,
);

const fields = z.strictObject({
  limits: limitsSchema.optional().describe('What one client, or all of them, may take.'),
});

/** `true` is all defaults, and `false` nothing, as an environment variable may say. */
export const subjectsSchema = z.preprocess(fromFlag, fields.optional()).meta({ type: ['boolean', 'object'] });

export const SUBJECTS_KEYS = Object.keys(fields.shape);
export const SUBJECTS_LIMIT_KEYS = Object.keys(LIMITS);

function fromFlag(value: unknown): unknown {
  if (value === true || value === 'true') return {};
  return value === false || value === 'false' ? undefined : value;
}
