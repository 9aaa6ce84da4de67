import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { benchRow, COLUMNS, MARIADB_TABLE } from '../rows.js';
import type { GaleraBinaries } from './galera-binaries.js';
import { GaleraNode, type GaleraPorts } from './galera-node.js';
import { freePort } from './free-port.js';
import type { MariadbClient } from './mariadb-client.js';
import type { Account } from './privileges.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const DATABASE = 'bench';
const INSERT = `INSERT INTO ${DATABASE}.orders VALUES (${COLUMNS.map(() => '?').join(', ')})`;
const POLL_MS = 10;
const CATCH_UP_TIMEOUT_MS = 60_000;

export interface GaleraOptions {
  readonly binaries: GaleraBinaries;
  readonly account: Account;
  readonly folder: string;
}

export interface GaleraWritten {
  readonly transactionsPerSecond: number;
  readonly latenciesMs: readonly number[];
}

interface Connection {
  readonly client: MariadbClient;
  readonly insert: number;
}

/** Three MariaDB servers that certify each other's transactions. */
export class GaleraCluster {
  #nextId = 1;
  readonly #connections = new Map<number, Promise<Connection>>();

  private constructor(private readonly nodes: readonly GaleraNode[]) {}

  static async start(options: GaleraOptions): Promise<GaleraCluster> {
    const ports: GaleraPorts[] = [];
    for (const _ of NODES) ports.push({ group: await freePort(), transfer: await freePort() });
    const group = ports.map((port) => port.group);
    const nodes = NODES.map((name, index) => {
      const own = ports[index] ?? { group: 0, transfer: 0 };
      return new GaleraNode({ ...options, folder: join(options.folder, name), name, ports: own, group });
    });
    const cluster = new GaleraCluster(nodes);
    try {
      const [first, ...others] = nodes;
      if (first === undefined) throw new Error('a Galera cluster needs a node');
      first.install();
      await first.start(1);
      const client = await first.connect();
      await client.query(`CREATE DATABASE ${DATABASE}`);
      await client.query(`USE ${DATABASE}`);
      await client.query(MARIADB_TABLE);
      await first.stop();
      for (const other of others) other.copyFrom(first);
      for (const [index, node] of nodes.entries()) await node.start(index + 1);
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** Single-row transactions of so many clients. */
  async write(transactions: number, clients: number, servers: 'first' | 'all'): Promise<GaleraWritten> {
    const nodes = servers === 'all' ? this.nodes.length : 1;
    const connections = await Promise.all(
      Array.from({ length: clients }, (_, i) => this.#connection(i, nodes)),
    );
    const latenciesMs: number[] = [];
    let left = transactions;
    const started = performance.now();
    const writer = async ({ client, insert }: Connection): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const row = benchRow(this.#nextId);
        this.#nextId += 1;
        const from = performance.now();
        await client.execute(insert, row);
        latenciesMs.push(performance.now() - from);
      }
    };
    await Promise.all(connections.map(writer));
    return { transactionsPerSecond: (transactions * 1000) / (performance.now() - started), latenciesMs };
  }

  /** Of all nodes, once they have applied what they have received: commits do not wait for that. */
  async rowCounts(): Promise<readonly number[]> {
    const deadline = performance.now() + CATCH_UP_TIMEOUT_MS;
    for (;;) {
      const counts: number[] = [];
      for (const node of this.nodes.keys()) {
        const { client } = await this.#connection(node, this.nodes.length);
        const [row] = await client.query(`SELECT count(*) FROM ${DATABASE}.orders`);
        counts.push(Number(row?.[0]));
      }
      if (counts.every((count) => count === this.rowsWritten) || performance.now() > deadline) return counts;
      await sleep(POLL_MS);
    }
  }

  get rowsWritten(): number {
    return this.#nextId - 1;
  }

  async stop(): Promise<void> {
    for (const node of Array.from(this.nodes).reverse()) await node.stop();
  }

  /** Connections are kept: connecting is not what is measured. */
  #connection(index: number, nodes: number): Promise<Connection> {
    const at = index % nodes;
    const key = index * this.nodes.length + at;
    const known = this.#connections.get(key);
    if (known !== undefined) return known;
    const made = this.#connect(at);
    this.#connections.set(key, made);
    return made;
  }

  async #connect(index: number): Promise<Connection> {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`there is no Galera node ${index}`);
    const client = await node.connect();
    return { client, insert: await client.prepare(INSERT) };
  }
}
