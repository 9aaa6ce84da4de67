import { AntiphonError, suggest } from '@antiphon/core';
import { z } from 'zod';

/** Of a name that a request brought. */
const MAX_SHOWN = 100;

/** @throws AntiphonError BAD_OPTION, which names the place and what belongs there */
export function parseInput<S extends z.ZodType>(schema: S, input: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AntiphonError(
    'BAD_OPTION',
    issue === undefined ? `${what} is not valid.` : explain(issue, schema, what),
  );
}

function explain(issue: z.core.$ZodIssue, schema: z.ZodType, what: string): string {
  const place = placeOf(issue.path, what);
  if (issue.code === 'unrecognized_keys') {
    const key = (issue.keys[0] ?? '').slice(0, MAX_SHOWN);
    const known = issue.path.length === 0 && schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
    return `${place} has no field "${key}". ${suggest(key, known)}`.trimEnd();
  }
  if (issue.code === 'invalid_union')
    return `${place} is not valid. See /openapi.json for what belongs there.`;
  if (issue.code === 'invalid_format') return `${place} ${issue.message}.`;
  return `${place} is not valid: ${issue.message}.`;
}

function placeOf(path: readonly PropertyKey[], what: string): string {
  if (path.length === 0) return what;
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  return `\`${text.replace(/^\./, '')}\``;
}
