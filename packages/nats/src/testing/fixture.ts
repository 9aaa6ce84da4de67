import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AppendRequest, AppendResult, Log, LogEntry, LogReader } from '@antiphon/core';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { NatsServer, type NatsServerOptions } from '@antiphon/nats-server';

/**
 * A real nats-server for one test file, or one test, with its store in a folder that goes away with
 * it.
 */
export class Fixture {
  readonly #handles: NatsHandle[] = [];

  private constructor(
    readonly server: NatsServer,
    private readonly dir: string,
  ) {}

  static async start(options: Partial<NatsServerOptions> = {}): Promise<Fixture> {
    const dir = mkdtempSync(join(tmpdir(), 'antiphon-nats-'));
    return new Fixture(await NatsServer.start({ storeDir: join(dir, 'store'), ...options }), dir);
  }

  async connect(options: { readonly onProblem?: (problem: Error) => void } = {}): Promise<NatsHandle> {
    const handle = await connectNats({ servers: this.server.url, ...options });
    this.#handles.push(handle);
    return handle;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#handles.splice(0).map((handle) => handle.close()));
    await this.server.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function bytes(text: string | number): Uint8Array {
  return new TextEncoder().encode(String(text));
}

export function text(data: Uint8Array | undefined): string {
  return new TextDecoder().decode(data);
}

export function append(
  log: Log,
  request: Partial<AppendRequest> & { readonly id: string },
): Promise<AppendResult> {
  const { origin = 'writer', data = bytes(request.id) } = request;
  return new Promise((resolve) => log.append({ ...request, origin, data }, resolve));
}

/**
 * Appends `count` entries with the ids `prefix:1`…, each content its id; throws unless all are
 * stored.
 */
export async function fill(log: Log, count: number, prefix = 'a', data?: Uint8Array): Promise<void> {
  const window = 1000;
  for (let at = 1; at <= count; at += window) {
    const last = Math.min(count, at + window - 1);
    const results: Promise<AppendResult>[] = [];
    for (let n = at; n <= last; n += 1) {
      results.push(append(log, { id: `${prefix}:${n}`, ...(data === undefined ? {} : { data }) }));
    }
    for (const result of await Promise.all(results)) if (result.type !== 'stored') throw result.error;
  }
}

/** Appends an entry until the log says that it is stored, as a relay does. */
export async function appendSurely(log: Log, id: string): Promise<number> {
  for (;;) {
    const result = await append(log, { id });
    if (result.type === 'stored') return result.seq;
    if (!result.error.retriable) throw result.error;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Reads until `lastSeq` is there; throws when a number is missing or comes twice. */
export async function readTo(reader: LogReader, firstSeq: number, lastSeq: number): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for (let next = firstSeq; next <= lastSeq;) {
    for (const entry of await reader.next({ maxEntries: 1000, maxBytes: 1_000_000 })) {
      if (entry.seq !== next) throw new Error(`entry ${entry.seq} came instead of ${next}`);
      entries.push(entry);
      next += 1;
    }
  }
  return entries;
}
