import {
  AntiphonError,
  isSameName,
  type ChecksumReport,
  type QueryResult,
  type RowDigest,
  type RowStream,
  type Store,
  type Parameter,
  tablesToName,
  type Value,
} from '@antiphon/core';
import type { TrackedTable } from './local-table.js';
import { readTableOf } from './read-table.js';
import { reviveValue, type Reader } from './reader.js';
import type { RowStreams } from './row-streams.js';
import type { Surroundings } from './surroundings.js';
import { bindParameters } from './values.js';

const DEFAULT_MAX_ROWS = 10_000;
const DEFAULT_MAX_BYTES = 32 * 1024 * 1024;

type QueryOptions = NonNullable<Parameters<Store['query']>[2]>;

/** What is read off the writing thread. */
export class StoreReads {
  /** Users' queries, and what Antiphon itself wants to know: neither has to wait for the other. */
  readonly #queries: Pick<Reader, 'read' | 'close'>;
  readonly #checks: Pick<Reader, 'read' | 'close'>;

  /** Each keeps its process for as long as its reader likes: no query waits for one. */
  readonly #streams: Pick<RowStreams, 'open' | 'close'>;

  constructor(
    file: string,
    { readers, streams }: { readonly readers: number; readonly streams: number },
    surroundings: Surroundings,
  ) {
    this.#streams = surroundings.streams({ file, most: streams });
    this.#queries = surroundings.reader({ file, most: readers, kept: 1 });
    this.#checks = surroundings.reader({ file, most: 1, kept: 0 });
  }

  async query(
    sql: string,
    params: readonly Parameter[] | Readonly<Record<string, Parameter>>,
    options: QueryOptions = {},
  ): Promise<QueryResult> {
    const request = {
      type: 'query',
      sql,
      parameters: bindParameters(params),
      maxRows: options.maxRows ?? DEFAULT_MAX_ROWS,
      maxBytes: options.maxBytes ?? DEFAULT_MAX_BYTES,
    } as const;
    return (await this.#queries.read(request, options.signal)).result;
  }

  stream(
    sql: string,
    params: readonly Parameter[] | Readonly<Record<string, Parameter>>,
    { maxRowBytes = DEFAULT_MAX_BYTES, signal }: Parameters<Store['stream']>[2],
  ): Promise<RowStream> {
    return this.#streams.open({ sql, parameters: bindParameters(params), maxRowBytes }, signal);
  }

  /** Of all of `tables`, or of those that are named. */
  async checksum(
    replica: string,
    tables: readonly TrackedTable[],
    names?: readonly string[],
    signal?: AbortSignal,
  ): Promise<ChecksumReport> {
    const wanted = names?.map((name) => tableOf(tables, name)) ?? tables;
    const request = { type: 'checksum', tables: wanted.map(readTableOf), replica } as const;
    return (await this.#checks.read(request, signal)).report;
  }

  async rowDigests(
    tables: readonly TrackedTable[],
    name: string,
    afterKey: readonly Value[] | undefined,
    limit: number,
    signal?: AbortSignal,
  ): Promise<readonly RowDigest[]> {
    const table = readTableOf(tableOf(tables, name));
    const { digests } = await this.#checks.read({ type: 'digests', table, afterKey, limit }, signal);
    return digests.map(({ key, digest }) => ({ key: key.map(reviveValue), digest }));
  }

  async close(): Promise<void> {
    await Promise.all([this.#queries.close(), this.#checks.close(), this.#streams.close()]);
  }
}

function tableOf(tables: readonly TrackedTable[], name: string): TrackedTable {
  const table = tables.find((candidate) => isSameName(candidate.name, name));
  if (table === undefined)
    // Whoever compares replicas asks several of them, so it does not matter which one says it.
    throw new AntiphonError(
      'UNKNOWN_TABLE',
      `This cluster does not replicate table ${name}. ${tablesToName(name, tables)}`,
      { context: { table: name } },
    );
  return table;
}
