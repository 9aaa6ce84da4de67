import { cpSync, rmSync } from 'node:fs';
import { connectNats } from '@antiphon/nats';
import { NatsServer } from '@antiphon/nats-server';
import type { AppendResult, Log } from '@antiphon/core';
import type { ClusterFixture } from './cluster-fixture.js';

/**
 * The store of a nats-server as it was at some moment: what is left after a power cut, or in a
 * backup.
 */
export class OldStore {
  private constructor(
    private readonly cluster: ClusterFixture,
    private readonly dir: string,
  ) {}

  /** Kills the server, copies its store, and starts it again. */
  static async copy(cluster: ClusterFixture): Promise<OldStore> {
    const dir = `${cluster.server.storeDir}-old`;
    await cluster.server.kill();
    cpSync(cluster.server.storeDir, dir, { recursive: true });
    await cluster.server.restart();
    return new OldStore(cluster, dir);
  }

  /** Somebody writes to the old log, somewhere else, before it is put back. */
  async grow(write: (log: Log) => Promise<void>): Promise<void> {
    await using server = await NatsServer.start({ storeDir: this.dir });
    const nats = await connectNats({ servers: server.url });
    try {
      const log = nats.log(this.cluster.cluster);
      await log.open({ create: false });
      await write(log);
    } finally {
      await nats.close();
    }
  }

  /** The server comes back with the old store. */
  async putBack(): Promise<void> {
    const { server } = this.cluster;
    await server.kill();
    rmSync(server.storeDir, { recursive: true, force: true });
    cpSync(this.dir, server.storeDir, { recursive: true });
    await server.restart();
  }
}

/** Entries that mean nothing to anybody, until the log ends at `lastSeq`. */
export async function fillTo(log: Log, lastSeq: number): Promise<void> {
  for (;;) {
    const { lastSeq: end } = await log.identity();
    if (end >= lastSeq) return;
    const id = `filler-${end}`;
    const result = await new Promise<AppendResult>((settled) =>
      log.append({ origin: '_barrier', id, data: new Uint8Array([0xc0]) }, settled),
    );
    if (result.type !== 'stored') throw result.error;
  }
}
