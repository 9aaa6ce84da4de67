import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AntiphonError,
  isLeaseValid,
  keeperOf,
  type KeeperState,
  keeperStep,
  type LeaseRecord,
  type LeaseStandIn,
} from '@antiphon/core';
import { NatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { Fixture } from '../testing/fixture.js';
import type { JetStreamLease } from './jetstream-lease.js';

const SETTINGS = { leaseMs: 800, renewMs: 200, marginMs: 100 };
const RECORD: LeaseRecord = { epoch: 3, holder: 'a', instance: 'i', leaseMs: 800, n: 0 };
const nowMs = (): number => performance.now();

function keepThread(forMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forMs);
}

describe('a thread that stands in', () => {
  let fixture: Fixture;
  let nats: NatsHandle;
  let lease: JetStreamLease;
  let standIn: LeaseStandIn;
  let problems: (AntiphonError | undefined)[];
  let clusters = 0;
  beforeAll(async () => {
    fixture = await Fixture.start();
    nats = await fixture.connect();
  });
  afterAll(() => fixture.stop());

  beforeEach(async () => {
    lease = nats.lease(`shop${clusters++}`);
    problems = [];
    const onProblem = (problem: AntiphonError | undefined): void => void problems.push(problem);
    standIn = lease.standIn({ limitMs: 60_000, nowMs, onProblem });
    await eventually('it is connected', () => problems.length > 0);
  });
  afterEach(() => standIn.close());

  /** As of now. */
  async function taken(): Promise<KeeperState> {
    const { seq } = await lease.read();
    const wanted = keeperStep(keeperOf('i', SETTINGS, { expectedSeq: seq }), { type: 'sent', atMs: nowMs() });
    const take = await lease.take({ ...RECORD, n: 1 }, seq);
    if (take.type !== 'taken') throw new Error(`the lease was not taken: ${take.type}`);
    return keeperStep(wanted, { ...take, n: 1, atMs: nowMs() });
  }

  it('keeps the lease for as long as a write keeps this one, also to its very end', async () => {
    const held = await taken();
    standIn.tell({ record: RECORD, state: held });
    standIn.busy(true);
    keepThread(3 * SETTINGS.leaseMs);
    const newest = standIn.newest();
    expect(isLeaseValid(held, nowMs())).toBe(false);
    expect(newest !== undefined && isLeaseValid(newest, nowMs())).toBe(true);
    expect((await lease.read()).record?.n).toBeGreaterThan(5);
    expect(problems).toEqual([undefined]);
  });

  it('lets it run out when nothing excuses that it is not renewed', async () => {
    standIn.tell({ record: RECORD, state: await taken() });
    keepThread(2 * SETTINGS.leaseMs);
    expect(standIn.newest()).toBeUndefined();
    expect((await lease.read()).record?.n).toBe(1);
  });

  it('keeps it also while a write of another cluster keeps this thread', async () => {
    const other = nats.lease('other').standIn({ limitMs: 60_000, nowMs, onProblem: () => undefined });
    standIn.tell({ record: RECORD, state: await taken() });
    other.busy(true);
    keepThread(2 * SETTINGS.leaseMs);
    const newest = standIn.newest();
    expect(newest !== undefined && isLeaseValid(newest, nowMs())).toBe(true);
    await other.close();
    // Whoever has gone keeps nobody any more.
    standIn.tell({ record: RECORD, state: await taken() });
    keepThread(2 * SETTINGS.leaseMs);
    expect(standIn.newest()).toBeUndefined();
  });

  it('says when its connection is lost for long, and when it is back', { timeout: 60_000 }, async () => {
    const storeDir = mkdtempSync(join(tmpdir(), 'antiphon-lease-'));
    const first = await NatsServer.start({ storeDir });
    const { port } = new URL(first.url);
    const own = await connectNats({ servers: first.url });
    const said: (string | undefined)[] = [];
    const onProblem = (problem: AntiphonError | undefined): void => void said.push(problem?.message);
    const other = own.lease('shop').standIn({ limitMs: 60_000, nowMs, onProblem });
    await eventually('it is connected', () => said.length > 0);
    await first.stop();
    await eventually('it says so', () => said.at(-1)?.includes('is down'), 20_000);
    const second = await NatsServer.start({ storeDir, port: Number(port) });
    await eventually('it is back', () => said.at(-1) === undefined, 20_000);
    expect(said).toEqual([undefined, expect.any(String), undefined]);
    await Promise.all([other.close(), own.close()]);
    await second.stop();
    rmSync(storeDir, { recursive: true, force: true });
  });

  it('tells nothing of before the holder spoke', async () => {
    standIn.tell({ record: RECORD, state: await taken() });
    standIn.busy(true);
    keepThread(SETTINGS.leaseMs);
    standIn.busy(false);
    const held = await taken();
    standIn.tell({ record: RECORD, state: held });
    expect(standIn.newest()).toBeUndefined();
  });
});
