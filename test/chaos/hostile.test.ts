import { afterEach, describe, expect, it } from 'vitest';
import { decodeBatches, encodeBatch, type TransactionBatch } from '@antiphon/core';
import { connect, type NatsConnection } from 'nats';
import { checkNothingLostNothingTwice } from './checks.js';
import { ChaosCluster, pause, ROUNDS } from './cluster.js';

const MESSAGES = ROUNDS >= 20 ? 100_000 : 6_000;

let cluster: ChaosCluster | undefined;
let attacker: NatsConnection | undefined;
afterEach(async () => {
  await attacker?.close();
  await cluster?.close();
  cluster = undefined;
});

/** A small generator with a seed: the run that failed can be repeated. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function wellFormed(origin: string, counter: number, table = 'entries'): TransactionBatch {
  return {
    kind: 'transactions',
    origin,
    firstCounter: counter,
    epoch: 0,
    time: Date.now() * 1000,
    context: {},
    schemaVersion: 1,
    tables: [{ name: table, columns: ['id', 'origin', 'n', 'payload'], key: [0] }],
    transactions: [
      {
        counter,
        time: Date.now() * 1000,
        changes: [{ op: 'insert', table: 0, row: [`forged-${origin}-${counter}`, origin, 1n, null] }],
      },
    ],
  };
}

function hostileBytes(random: () => number): Uint8Array {
  const kind = Math.floor(random() * 6);
  const length = Math.floor(random() * 300);
  const noise = Uint8Array.from({ length }, () => Math.floor(random() * 256));
  const good = encodeBatch(wellFormed('stranger', 1 + Math.floor(random() * 1000)));
  if (kind === 0) return noise;
  if (kind === 1) return good.subarray(0, Math.floor(random() * good.length));
  if (kind === 2) {
    const flipped = good.slice();
    flipped[Math.floor(random() * flipped.length)] = Math.floor(random() * 256);
    return flipped;
  }
  if (kind === 3) return good; // well formed, from nobody
  if (kind === 4) return encodeBatch(wellFormed('a', 1_000_000 + Math.floor(random() * 1000))); // far ahead of a
  // Claims more elements than there are bytes in the world.
  return Uint8Array.from([0xdd, 0xff, 0xff, 0xff, 0xff, ...noise]);
}

describe('hostile messages on the log and on the mailboxes', () => {
  it('I15: are quarantined or refused and counted; good traffic goes on', async () => {
    cluster = await ChaosCluster.start(['a', 'b', 'c'], { mode: 'multi-primary' });
    attacker = await connect({ servers: cluster.server.url });
    for (const replica of cluster.replicas) replica.load(1, 2);
    const random = generator(20_26);
    const commands = [
      'ping',
      'status',
      'execute',
      'query',
      'checksum',
      'hold',
      'no-such-command',
      'execute.x',
    ];
    const origins = ['a', 'stranger', '_log', 'b'];
    for (let sent = 0; sent < MESSAGES; sent++) {
      const pick = (from: string[]): string => from[Math.floor(random() * from.length)] as string;
      const subject =
        random() < 0.5 ? `antiphon.chaos.log.${pick(origins)}` : `antiphon.chaos.replica.b.${pick(commands)}`;
      attacker.publish(subject, hostileBytes(random), random() < 0.3 ? { reply: 'nobody.listens' } : {});
      if (sent % 500 === 0) await attacker.flush();
    }
    await attacker.flush();
    await pause(2_000);
    await Promise.all(cluster.replicas.map((replica) => replica.idle()));
    await cluster.converged();
    expect(checkNothingLostNothingTwice(cluster)).toBeGreaterThan(50);
    for (const rows of cluster.read("SELECT * FROM entries WHERE id LIKE 'forged%'")) expect(rows).toBe('[]');
    for (const replica of cluster.replicas) {
      expect(replica.running).toBe(true);
      const { status } = await replica.status();
      expect(status.quarantined).toBeGreaterThan(0);
    }
  });

  it('I2 I15: a well-formed message that cannot be applied is quarantined, the true one with its number is applied', async () => {
    cluster = await ChaosCluster.start(['a', 'b'], { mode: 'multi-primary' });
    attacker = await connect({ servers: cluster.server.url });
    const { status } = await cluster.at(0).status();
    const next = ((status.vector as Record<string, number>).a ?? 0) + 1;
    await cluster.at(0).kill();
    const forged = encodeBatch(wellFormed('a', next, 'no_such_table'));
    expect(decodeBatches(forged)).toHaveLength(1);
    const js = attacker.jetstream();
    await js.publish('antiphon.chaos.log.a', forged);
    await cluster.at(0).start();
    cluster.at(0).load(1, 1);
    await pause(500);
    await cluster.at(0).idle();
    await cluster.converged();
    expect(checkNothingLostNothingTwice(cluster)).toBeGreaterThan(10);
  });
});
