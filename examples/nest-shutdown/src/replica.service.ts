/** The replica of this service, as a provider of NestJS. */
import { DatabaseSync } from 'node:sqlite';
import { createReplica, type Replica } from '@antiphon/replica';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';

const { ID = 'eu-1', FILE = `${ID}.db`, PRIMARY = 'eu-1' } = process.env;
const { NATS_URL = 'nats://127.0.0.1:4222' } = process.env;

export class ReplicaService implements OnModuleInit, OnApplicationShutdown {
  #replica: Replica<SqliteTransaction> | undefined;

  get replica(): Replica<SqliteTransaction> {
    if (this.#replica === undefined) throw new Error('The replica is there after onModuleInit.');
    return this.#replica;
  }

  /** Before the service listens. */
  async onModuleInit(): Promise<void> {
    if (ID === PRIMARY) {
      const database = new DatabaseSync(FILE);
      database.exec('CREATE TABLE IF NOT EXISTS visits (id TEXT PRIMARY KEY, page TEXT NOT NULL)');
      database.close();
    }
    this.#replica = await createReplica({
      cluster: 'visits',
      id: ID,
      servers: NATS_URL,
      store: sqlite({ file: FILE }),
      topology: { mode: 'primary-replica', primary: PRIMARY },
      failover: { mode: 'automatic' },
    });
  }

  /**
   * The last of the hooks: the HTTP server has closed by then. In `onModuleDestroy` or
   * `beforeApplicationShutdown`, requests under way would find a closed replica.
   */
  async onApplicationShutdown(): Promise<void> {
    await this.#replica?.close();
  }
}

// Node.js strips types and has no decorators yet. A build by NestJS has `@Injectable()` above the
// class.
Injectable()(ReplicaService);
