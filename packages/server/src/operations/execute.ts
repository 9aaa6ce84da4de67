import type { ExecuteOptions, Statement } from '@antiphon/replica';
import type { z } from 'zod';
import type { executeBody } from '../http/schemas.js';
import type { Operation } from './operation.js';
import { toParams, type ValueOf } from './params.js';

/** Throws BAD_OPTION. */
export function executeOf(body: z.output<typeof executeBody>, valueOf: ValueOf): Operation {
  const { acks, requestId, timeoutMs } = body;
  const statements = body.statements.map(({ sql, params, rows }, index): Statement => {
    const values = toParams(params, `statements[${index}].params`, valueOf);
    return { sql, params: values, ...(rows !== undefined && { rows }) };
  });
  const options: ExecuteOptions = {
    ...(acks !== undefined && { acks }),
    ...(requestId !== undefined && { requestId }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
  return async (replica, signal) => {
    const { value, ...result } = await replica.execute(statements, { ...options, signal });
    return { ...result, changes: value };
  };
}
