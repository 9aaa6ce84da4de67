import { setTimeout as sleep } from 'node:timers/promises';
import type { Publication, PublishResult } from '@antiphon/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { bytes, Fixture } from '../testing/fixture.js';

let fixture: Fixture;
let nats: NatsHandle;
let clusters = 0;

beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect();
});
afterAll(() => fixture.stop());

/** The ports of several publishers of one cluster, each on a connection of its own. */
async function publishers(count: number, subjects = ''): Promise<readonly Publication[]> {
  const cluster = `c${++clusters}`;
  await nats.log(cluster).open({ create: true });
  const wanted = {
    ...{ cluster, stream: `CHANGES_${cluster}`, retention: {} },
    subjects: subjects === '' ? `${cluster}.*` : subjects,
  };
  const handles = await Promise.all(Array.from({ length: count }, () => fixture.connect()));
  return handles.map((handle) => handle.publication(wanted));
}

interface Chain {
  seq: number;
  id: string | undefined;
}

/** Sends these one behind the other, all of them in flight at once. */
function send(to: Publication, chain: Chain, ...ids: string[]): Promise<readonly PublishResult[]> {
  return Promise.all(
    ids.map((id) => {
      const request = {
        subject: `${to.stream.replace('CHANGES_', '')}.t`,
        id,
        place: `at-${id}`,
        data: bytes(id),
      };
      const [expectedSeq, expectedId] = [chain.seq, chain.id];
      [chain.seq, chain.id] = [chain.seq + 1, id];
      return new Promise<PublishResult>((resolve) =>
        to.publish({ ...request, expectedSeq, expectedId }, resolve),
      );
    }),
  );
}

async function contents(of: Publication): Promise<readonly string[]> {
  const { seq } = await of.end();
  const found = Array.from({ length: seq }, (_, index) => nats.api.getMessage(of.stream, index + 1));
  return (await Promise.all(found)).map((message) => new TextDecoder().decode(message?.data));
}

describe('the stream of published changes', () => {
  it('is made when it is missing, and tells how far it goes', async () => {
    const [one] = await publishers(1);
    expect(await one!.end()).toEqual({ created: expect.any(String) as string, seq: 0 });
    const results = await send(one!, { seq: 0, id: undefined }, 'a', 'b', 'c');
    expect(results.map(({ type }) => type)).toEqual(['stored', 'stored', 'stored']);
    expect(await one!.end()).toMatchObject({ seq: 3, last: { id: 'c', place: 'at-c' } });
  });

  it('I17: goes on with one of two publishers that began at one place', async () => {
    const [one, two] = await publishers(2);
    await one!.end();
    await two!.end();
    const [first, second] = await Promise.all([
      send(one!, { seq: 0, id: undefined }, 'a1', 'a2', 'a3', 'a4'),
      send(two!, { seq: 0, id: undefined }, 'b1', 'b2', 'b3', 'b4'),
    ]);
    const winner = first[0]?.type === 'stored' ? 'a' : 'b';
    expect(await contents(one!)).toEqual([1, 2, 3, 4].map((n) => `${winner}${n}`));
    const types = [first, second].map((results) => results.map(({ type }) => type).join(' '));
    expect(types.sort()).toEqual(['outrun outrun outrun outrun', 'stored stored stored stored']);
  });

  it('I17: stores nothing that follows a message whose place somebody else took', async () => {
    const [one, two] = await publishers(2);
    await one!.end();
    // The others expect exactly the numbers that they find: only the id before tells.
    await send(two!, { seq: 0, id: undefined }, 'b1');
    const results = await send(one!, { seq: 0, id: undefined }, 'a1', 'a2', 'a3');
    expect(results.map(({ type }) => type)).toEqual(['outrun', 'outrun', 'outrun']);
    expect(await contents(one!)).toEqual(['b1']);
  });

  it('is not another stream, and is never altered', async () => {
    const [one] = await publishers(1);
    await one!.end();
    const cluster = `c${clusters}`;
    const other = nats.publication({ cluster, stream: one!.stream, subjects: 'other.*', retention: {} });
    await expect(other.end()).rejects.toMatchObject({ code: 'LOG_REFUSED' });
    const overlapping = nats.publication({
      cluster,
      stream: 'SECOND',
      subjects: `${cluster}.*`,
      retention: {},
    });
    await expect(overlapping.end()).rejects.toThrow(/Another stream than SECOND takes subjects/);
  });

  it('passes over what somebody else published, and says when its newest message is gone', async () => {
    const [one] = await publishers(1);
    const chain: Chain = { seq: 0, id: undefined };
    await one!.end();
    await send(one!, chain, 'a');
    await nats.connection.jetstream().publish(`c${clusters}.t`, bytes('foreign'));
    expect(await one!.end()).toMatchObject({ seq: 2, last: { id: 'a', place: 'at-a' } });
    await (await nats.connection.jetstreamManager()).streams.purge(one!.stream);
    const gone = await one!.end();
    expect([gone.seq, gone.last]).toEqual([2, undefined]);
  });

  it('answers with what went wrong when the stream is gone or full', async () => {
    const [one] = await publishers(1);
    await one!.end();
    const manager = await nats.connection.jetstreamManager();
    const { config } = await manager.streams.info(one!.stream);
    await manager.streams.update(one!.stream, { ...config, max_msgs: 1, discard: 'new' as never });
    const chain: Chain = { seq: 0, id: undefined };
    const [stored, full] = await send(one!, chain, 'a', 'b');
    expect(stored?.type).toBe('stored');
    expect(full).toMatchObject({ type: 'failed', error: { code: 'LOG_REFUSED' } });
    await manager.streams.delete(one!.stream);
    await sleep(50);
    const [gone] = await send(one!, { seq: 1, id: 'a' }, 'b');
    expect(gone).toMatchObject({ type: 'failed', error: { code: 'LOG_UNAVAILABLE' } });
    expect(await one!.end()).toMatchObject({ seq: 0 });
  });
});
