import type { TableSchema } from './schema.js';

/**
 * Which requests with an id were written, in a cluster with failover: a row in the transaction of
 * the request, replicated as any other, so that the next primary has it as well. No user sees the
 * table.
 */
export const REQUESTS_TABLE = '_antiphon_requests';

/** Of what is replicated, what the users made. */
export function usersTables<T extends Pick<TableSchema, 'name'>>(tables: readonly T[]): readonly T[] {
  return tables.filter(({ name }) => name !== REQUESTS_TABLE);
}
