import { setTimeout as sleep } from 'node:timers/promises';
import type { Publication, PublishResult } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { bytes } from '../testing/fixture.js';
import { ServerCluster } from '../testing/server-cluster.js';

const PATIENCE_MS = 30_000;
const NUMBERS = 20_000;
const WINDOW = 100;
const CHANGES = 5;
/** Less than a change of leaders may take, so that the two do meet. */
const TAKE_OVER_MS = 300;
const STREAM = 'CHANGES';

let cluster: ServerCluster;
const handles: NatsHandle[] = [];
beforeEach(async () => {
  cluster = await ServerCluster.start();
  for (let n = 0; n < 3; n++) {
    const connect = async (): Promise<boolean> => {
      handles.push(await connectNats({ servers: cluster.urls }));
      return true;
    };
    await eventually('the servers to start', () => connect().catch(() => false), PATIENCE_MS);
  }
}, PATIENCE_MS);
afterEach(async () => {
  await Promise.all(handles.splice(0).map((handle) => handle.close()));
  await cluster.stop();
}, PATIENCE_MS);

/** Publishes the numbers from 1 on as a replica publishes changes: behind what the stream has. */
class Counting {
  done = false;
  #tenures = 0;

  constructor(
    private readonly to: Publication,
    private readonly name: string,
  ) {}

  async run(): Promise<void> {
    while (!this.done) {
      try {
        await this.#tenure();
      } catch {
        await sleep(100);
      }
    }
  }

  /** As a standby that has a change which nobody publishes. */
  async #isIdle(seq: number): Promise<boolean> {
    await sleep(TAKE_OVER_MS + Math.random() * TAKE_OVER_MS);
    return (await this.to.end()).seq === seq;
  }

  async #tenure(): Promise<void> {
    const end = await this.to.end();
    const isMine = end.last?.id.includes(`~${this.name}.`) === true;
    if (!isMine && !(await this.#isIdle(end.seq))) return;
    let [seq, next, id] = [end.seq, Number(end.last?.place ?? '0') + 1, undefined as string | undefined];
    const tenure = `${this.name}.${++this.#tenures}`;
    let isBroken = false;
    while (next <= NUMBERS && !isBroken && !this.done) {
      const sent: Promise<PublishResult>[] = [];
      for (let n = 0; n < WINDOW && next <= NUMBERS; n++) {
        const request = {
          subject: 'numbers.n',
          id: `${next}~${tenure}`,
          place: String(next),
          data: bytes(next),
        };
        const expected = { expectedSeq: seq, expectedId: id };
        sent.push(new Promise((resolve) => this.to.publish({ ...request, ...expected }, resolve)));
        [seq, next, id] = [seq + 1, next + 1, request.id];
      }
      isBroken = (await Promise.all(sent)).some(({ type }) => type !== 'stored');
      await sleep(5);
    }
    if (next > NUMBERS) await sleep(100);
  }
}

it(
  'I17: holds every change once, in order, when two publish on three servers whose leaders change',
  { timeout: 150_000 },
  async () => {
    const [one, two, watcher] = handles as [NatsHandle, NatsHandle, NatsHandle];
    const opened = (): Promise<boolean> =>
      watcher
        .log('shop', { replicas: 3 })
        .open({ create: true })
        .then(
          () => true,
          () => false,
        );
    await eventually('the cluster to form', opened, PATIENCE_MS);
    const wanted = { cluster: 'shop', stream: STREAM, subjects: 'numbers.*', retention: {} };
    const rivals = [one, two].map((handle, n) => new Counting(handle.publication(wanted), `p${n}`));
    const running = rivals.map((rival) => rival.run());
    for (let n = 0; n < CHANGES; n++) {
      await sleep(400);
      const stepDown = `$JS.API.STREAM.LEADER.STEPDOWN.${STREAM}`;
      await watcher.connection.request(stepDown, undefined, { timeout: 5000 }).catch(() => undefined);
    }
    const end = watcher.publication(wanted);
    const isAll = async (): Promise<boolean> =>
      (await end.end().catch(() => undefined))?.last?.place === String(NUMBERS);
    await eventually('all numbers are published', isAll, 120_000);
    for (const rival of rivals) rival.done = true;
    await Promise.all(running);
    const info = await watcher.api.streamInfo(STREAM);
    expect(info.config.num_replicas).toBe(3);
    const found: number[] = [];
    for (let seq = 1; seq <= info.state.last_seq; seq += 100) {
      const page = Array.from({ length: Math.min(100, info.state.last_seq - seq + 1) }, (_, index) =>
        watcher.api.getMessage(STREAM, seq + index),
      );
      found.push(
        ...(await Promise.all(page)).map((message) => Number(new TextDecoder().decode(message?.data))),
      );
    }
    expect(found).toEqual(Array.from({ length: NUMBERS }, (_, index) => index + 1));
  },
);
