import { AntiphonError, isRecord } from '@antiphon/core';
import type { ExecuteOptions, Params, Statement } from '@antiphon/replica';
import { fromJsonValue } from '../http/json-value.js';
import { executeAnswer, executeBody, nothing } from '../http/schemas.js';
import { route } from './route.js';

export const executeRoute = route({
  method: 'POST',
  path: '/v1/execute',
  summary: 'Runs statements in one transaction.',
  role: 'write',
  body: executeBody,
  query: nothing,
  answers: { 200: { what: 'It is committed.', schema: executeAnswer } },
  run: async ({ replica, requests }, { body, signal, reply }) => {
    const { acks, requestId, timeoutMs } = body;
    const statements = body.statements.map(({ sql, params, rows }, index): Statement => {
      const values = toParams(params, `statements[${index}].params`);
      return { sql, params: values, ...(rows !== undefined && { rows }) };
    });
    const options: ExecuteOptions = {
      signal,
      ...(acks !== undefined && { acks }),
      ...(requestId !== undefined && { requestId }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    };
    const release = requests.takeFor(reply.raw);
    try {
      const { value, ...result } = await replica.execute(statements, options);
      return { body: { ...result, changes: value } };
    } finally {
      release();
    }
  },
});

/** Throws BAD_OPTION. */
export function toParams(input: unknown, place: string): Params {
  if (Array.isArray(input))
    return input.map((item: unknown, index) => fromJsonValue(item, `${place}[${index}]`));
  if (input === undefined) return [];
  if (!isRecord(input))
    throw new AntiphonError('BAD_OPTION', `\`${place}\` is not valid. Give a list, or an object of names.`);
  const entries = Object.entries(input).map(
    ([name, item]) => [name, fromJsonValue(item, `${place}.${name}`)] as const,
  );
  return Object.fromEntries(entries);
}
