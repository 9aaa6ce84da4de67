import {
  ChangeEncoder,
  decodeCursor,
  encodeBatch,
  encodePart,
  registerMember,
  type BatchHeader,
  type ChangeCursor,
  type LoggedChange,
} from '@antiphon/core';
import { TestCluster } from '@antiphon/test-cluster';
import { eventually } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { ClusterClient } from '../cluster-client.js';
import { clusterChanges } from './cluster-changes.js';

const schema = 'CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)';
const MULTI_PRIMARY = { topology: { mode: 'multi-primary' } } as const;
const PART_BYTES = 200;

function start(): Promise<TestCluster> {
  return TestCluster.start({ schema, replicas: ['a'], options: MULTI_PRIMARY });
}

function open(cluster: TestCluster): Promise<ClusterClient> {
  return ClusterClient.open({ cluster: cluster.name, nats: { servers: [cluster.broker.url!] } });
}

function headerOf(firstCounter: number): BatchHeader {
  return {
    ...{ origin: 'ghost', firstCounter, epoch: 0, time: Date.now() * 1000, context: {}, schemaVersion: 1 },
    tables: [{ name: 'orders', columns: ['id', 'state'], key: [0] }],
  };
}

function wholeOf(counter: number): Uint8Array {
  const header = headerOf(counter);
  const changes = [{ op: 'insert' as const, table: 0, row: [BigInt(100 + counter), 'by a ghost'] }];
  const transactions = [{ counter, time: header.time, changes }];
  return encodeBatch({ kind: 'transactions', ...header, transactions });
}

/** The first transaction of the ghost, of 20 rows. */
function partsOf(counter: number): Uint8Array[] {
  const encoder = new ChangeEncoder();
  for (let id = 0; id < 20; id++) encoder.insert(0, [BigInt(1000 + id), 'x'.repeat(20)]);
  const [header, bodies] = [headerOf(counter), [] as Uint8Array[]];
  while (encoder.byteLength > 0) bodies.push(encoder.take(PART_BYTES));
  return bodies.map((body, index) =>
    encodePart(header, index * PART_BYTES, index === bodies.length - 1, body),
  );
}

async function publish(client: ClusterClient, ...messages: readonly Uint8Array[]): Promise<void> {
  const log = client.nats.log(client.cluster);
  await log.open({ create: false });
  for (const data of messages) {
    const id = `ghost-${Math.random()}`;
    await new Promise((settled) => log.append({ origin: 'ghost', id, data }, settled));
  }
}

function registerGhost({ nats, cluster }: ClusterClient): Promise<unknown> {
  const record = { id: 'ghost', joinedAtMs: 1, engine: 'sqlite', version: '0', instance: 'g' };
  return registerMember(nats.registry(cluster), record);
}

interface Following extends AsyncDisposable {
  readonly seen: LoggedChange[];
  readonly ids: () => number[];
  readonly problems: string[];
  readonly done: Promise<unknown>;
}

function follow(client: ClusterClient, from: 'now' | 'beginning' | ChangeCursor): Following {
  const [ending, seen, problems] = [new AbortController(), [] as LoggedChange[], [] as string[]];
  const reading = async (): Promise<void> => {
    const onProblem = (message: string): void => void problems.push(message);
    for await (const change of clusterChanges(client, { from, onProblem, signal: ending.signal }))
      seen.push(change);
  };
  const done = reading().catch((error: unknown) => error);
  const end = async (): Promise<void> => {
    ending.abort();
    await done;
  };
  const ids = (): number[] => seen.map(({ key }) => Number(key['id']));
  return { seen, ids, problems, done, [Symbol.asyncDispose]: end };
}

const insert = (cluster: TestCluster, id: number): Promise<unknown> =>
  cluster.replica('a').execute([{ sql: "INSERT INTO orders VALUES (?, 'x')", params: [id] }]);

it('from now shows a big transaction that is being published, and what follows it', async () => {
  await using cluster = await start();
  await using client = await open(cluster);
  await registerGhost(client);
  const [first, second, ...others] = partsOf(1);
  await publish(client, first!);
  await insert(cluster, 1);
  await publish(client, second!);
  const { lastSeq } = await client.nats.log(client.cluster).identity();
  await eventually('the replica has two parts', async () => {
    return (await client.replica('a').ask('standing')).seq >= lastSeq;
  });
  await using following = follow(client, 'now');
  await eventually('it follows', async () => {
    await insert(cluster, 2 + following.seen.length + Math.floor(Math.random() * 1e6));
    return following.seen.length > 0;
  });
  await publish(client, ...others, wholeOf(2));
  await eventually('it shows the rest', () => following.ids().includes(102), 10_000);
  const ids = following.ids();
  expect(ids.slice(-21)).toEqual([...Array.from({ length: 20 }, (_, id) => 1000 + id), 102]);
  expect(ids).not.toContain(1);
});

it('that nobody could say where to begin shows what follows a transaction that it saw half of', async () => {
  await using cluster = await start();
  await using client = await open(cluster);
  await registerGhost(client);
  const [first, ...others] = partsOf(1);
  await publish(client, first!);
  await cluster.stopReplica('a');
  await using following = follow(client, 'now');
  await eventually('it shows what follows', async () => {
    await publish(client, ...others, wholeOf(2), wholeOf(3));
    return following.ids().includes(103);
  });
  expect(following.ids().filter((id) => id >= 1000)).toEqual([]);
});

it('shows what was quarantined and is applied later, and what follows it', { timeout: 30_000 }, async () => {
  await using cluster = await start();
  await using client = await open(cluster);
  await using following = follow(client, 'beginning');
  await publish(client, wholeOf(1), wholeOf(2));
  await insert(cluster, 1);
  await eventually('it shows the one behind', () => following.seen.length === 1);
  await registerGhost(client);
  await cluster.replica('a').quarantine.retry();
  await eventually('it has them', async () => {
    return (await client.replica('a').ask('standing')).vector['ghost'] === 2;
  });
  await publish(client, wholeOf(3));
  await eventually('it shows all', () => following.seen.length >= 4, 20_000);
  expect(following.ids()).toEqual([1, 101, 102, 103]);
  expect(following.problems).toHaveLength(2);
});

it('ends when the log does not hold what follows the cursor', async () => {
  await using cluster = await start();
  await using client = await open(cluster);
  await insert(cluster, 1);
  await using following = follow(client, 'beginning');
  await eventually('it shows it', () => following.seen.length === 1);
  const place = decodeCursor(following.seen[0]!.cursor);
  const other = { ...place, entry: { ...place.entry!, storedAtMs: 1 } };
  expect(await follow(client, other).done).toMatchObject({ code: 'PLACE_LOST' });
  expect(await follow(client, { ...place, generation: 'other' }).done).toMatchObject({ code: 'PLACE_LOST' });
});
