import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { JetStreamLog } from './jetstream-log.js';
import { append, bytes, fill, Fixture } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import type { NatsHandle } from '../connection/nats-handle.js';

let fixture: Fixture;
let nats: NatsHandle;
beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect();
});
afterAll(() => fixture.stop());

const create = { create: true } as const;

async function jetstream(operation: string, body?: object): Promise<Record<string, unknown>> {
  const data = body === undefined ? new Uint8Array(0) : bytes(JSON.stringify(body));
  const reply = await nats.connection.request(`$JS.API.${operation}`, data, { timeout: 5000 });
  return reply.json();
}

function openNew(cluster: string, options = {}): Promise<{ log: JetStreamLog; generation: string }> {
  const log = nats.log(cluster, { checkIntervalMs: 100, ...options });
  return log.open(create).then(({ generation }) => ({ log, generation }));
}

describe('opening a log', () => {
  it('I14: creates it with an identity record as entry 1, and finds it again', async () => {
    const { log, generation } = await openNew('fresh');
    expect(generation).toMatch(/^[0-9a-f-]{36}$/);
    expect(await log.identity()).toEqual({ generation, firstSeq: 1, lastSeq: 1 });
    const again = await (await fixture.connect()).log('fresh').open({ create: false });
    expect(again).toEqual({ generation, firstSeq: 1, lastSeq: 1 });
  });

  it('I14: is the same log for all of many processes that create it at the same moment', async () => {
    for (let round = 0; round < 5; round += 1) {
      const handles = await Promise.all([
        fixture.connect(),
        fixture.connect(),
        fixture.connect(),
        fixture.connect(),
      ]);
      const identities = await Promise.all(handles.map((handle) => handle.log(`race${round}`).open(create)));
      expect(new Set(identities.map(({ generation }) => generation)).size).toBe(1);
      expect(await handles[0].log(`race${round}`).identity()).toMatchObject({ firstSeq: 1, lastSeq: 1 });
    }
  });

  it('takes the settings of whoever was faster', async () => {
    await openNew('settings', { dedupeWindowMs: 10_000 });
    const { log } = await openNew('settings', { dedupeWindowMs: 20_000, maxMessageBytes: 1_000_000 });
    expect(log.maxMessageBytes).toBe(524_288);
  });

  it('says that there is none unless told to create it', async () => {
    const log = nats.log('absent');
    await expect(log.open({ create: false })).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    await expect(log.identity()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
  });

  it('does not take a foreign stream for a log', async () => {
    await jetstream('STREAM.CREATE.ANTIPHON_foreign', { name: 'ANTIPHON_foreign', subjects: ['x.foreign'] });
    await expect(nats.log('foreign').open(create)).rejects.toMatchObject({ code: 'LOG_REFUSED' });
    const subjects = ['antiphon.alien.log.>'];
    await jetstream('STREAM.CREATE.ANTIPHON_alien', {
      name: 'ANTIPHON_alien',
      subjects,
      retention: 'limits',
      storage: 'file',
    });
    await nats.connection.jetstream().publish('antiphon.alien.log.x', bytes('not ours'));
    await expect(nats.log('alien').open(create)).rejects.toMatchObject({
      code: 'LOG_REPLACED',
      message: expect.stringMatching(/made by something else/),
    });
  });

  it.each(['', '_x', 'a.b', 'a b', '../x', 'é', 'x'.repeat(64), 'a\r\nPUB b 1\r\n'])(
    'refuses the cluster name %j',
    (cluster) => {
      expect(() => nats.log(cluster)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    },
  );

  it('refuses options that make no sense', () => {
    expect(() => nats.log('x', { replicas: 0 })).toThrow(/replicas/);
    expect(() => nats.log('x', { maxReadAheadBytes: Number.NaN })).toThrow(/maxReadAheadBytes/);
  });
});

describe('a log that is no longer what it was', () => {
  it('I14: is noticed when the stream was deleted', async () => {
    const { log } = await openNew('deleted');
    await jetstream('STREAM.DELETE.ANTIPHON_deleted');
    await expect(log.identity()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    expect(await append(log, { id: 'a:1' })).toMatchObject({
      type: 'refused',
      error: { code: 'LOG_REPLACED' },
    });
  });

  it('I14: is noticed when the stream was deleted and created anew, also by Antiphon itself', async () => {
    const { log, generation } = await openNew('anew');
    await jetstream('STREAM.DELETE.ANTIPHON_anew');
    const other = await openNew('anew');
    expect(other.generation).not.toBe(generation);
    await expect(log.identity()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    expect((await log.open(create)).generation).toBe(other.generation);
    expect(await append(log, { id: 'a:1' })).toMatchObject({ type: 'stored', seq: 2 });
  });

  it('I14: refuses an append whose answer shows that the log began anew', async () => {
    const { log } = await openNew('behind', { checkIntervalMs: 60_000 });
    await fill(log, 10);
    await jetstream('STREAM.DELETE.ANTIPHON_behind');
    await openNew('behind');
    expect(await append(log, { id: 'b:1' })).toMatchObject({
      type: 'refused',
      error: { code: 'LOG_REPLACED' },
    });
  });

  it('I14: keeps its identity when it was trimmed: whoever knows it writes the record again', async () => {
    const { log, generation } = await openNew('trimmed', { checkIntervalMs: 60_000 });
    await fill(log, 5);
    await log.identity();
    await jetstream('STREAM.PURGE.ANTIPHON_trimmed', { seq: 4 });
    // Nothing that would make an operator delete the log of replicas that run.
    await expect(nats.log('trimmed').open(create)).rejects.toMatchObject({
      code: 'LOG_REPLACED',
      message: expect.stringMatching(/writes the record again .* Do not delete it while any replica/),
    });
    expect(await log.identity()).toEqual({ generation, firstSeq: 4, lastSeq: 6 });
    expect(await log.identity()).toEqual({ generation, firstSeq: 4, lastSeq: 7 });
    expect(await nats.log('trimmed').open(create)).toMatchObject({ generation, firstSeq: 4 });
  });

  it.each([
    ['and still empty', 0],
    ['and has grown since', 3],
  ])('I14: is noticed when the stream was purged %s', async (_, grownBy) => {
    const cluster = `purged${grownBy}`;
    const { log } = await openNew(cluster, { checkIntervalMs: 60_000 });
    await fill(log, 5);
    await log.identity();
    await jetstream(`STREAM.PURGE.ANTIPHON_${cluster}`);
    await fill(log, grownBy, 'b');
    await expect(log.identity()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
    await expect(nats.log(cluster).open(create)).rejects.toMatchObject({ code: 'LOG_REPLACED' });
  });

  it('I14: is told without being asked', async () => {
    const { log } = await openNew('watched');
    await jetstream('STREAM.DELETE.ANTIPHON_watched');
    let result = await append(log, { id: 'a:1' });
    await eventually('the guard to look', async () => {
      result = await append(log, { id: 'a:1' });
      return result.type === 'refused' && result.error.code === 'LOG_REPLACED';
    });
  });
});
