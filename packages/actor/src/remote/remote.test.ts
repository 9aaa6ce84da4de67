import { AntiphonError, ConflictError, TaggedValue } from '@antiphon/core';
import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, idle } from '../../test/manual-clock.js';
import { MemoryBus } from '../../test/memory-bus.js';
import { ActorSystem, exposeActor, msgpackCodec, remoteRef } from '../index.js';
import type { ActorRef, Behaviour, Exposure, Ref } from '../index.js';

interface Replica {
  write(request: { readonly sql: string; readonly at?: bigint }): {
    readonly rows: number;
    readonly at: bigint | undefined;
  };
  applied(seq: number): boolean;
  ping(): void;
  refuse(): void;
  conflict(): void;
  crash(): void;
  hang(): void;
  strange(): unknown;
  internal(secret: string): void;
}

const PREFIX = 'antiphon.shop.replica.eu-1';
let bus: MemoryBus;
let clock: ManualClock;
let seen: unknown[];
let actor: ActorRef<Replica>;
let exposure: Exposure;
let remote: Ref<Replica>;

function replica(): Behaviour<Replica> {
  return {
    receive: {
      write: (request) => {
        seen.push(request);
        return { rows: request.sql.length, at: request.at };
      },
      applied: (seq) => seq > 10,
      ping: () => void seen.push('ping'),
      refuse: () => {
        const context = { table: 'orders', started: true, nested: { hidden: 1 } };
        throw new AntiphonError('CONSTRAINT', 'UNIQUE constraint failed', {
          context,
          retriable: true,
          cause: new Error('x'),
        });
      },
      conflict: () => {
        const key = [
          2n ** 60n,
          'b-1',
          0.5,
          new Uint8Array([7]),
          new TaggedValue('raw-text', new Uint8Array([255])),
        ];
        const details = { table: 'orders', key, winner: { origin: 'us-1', counter: 9 } };
        throw new ConflictError('us-1:9 was committed first.', details, { context: { replica: 'eu-1' } });
      },
      crash: () => {
        throw new Error('broke');
      },
      hang: () => new Promise<void>(() => undefined),
      strange: () => ({ call: () => 'a function cannot travel' }),
      internal: (secret) => void seen.push(secret),
    },
  };
}

const nothing = (input: unknown): undefined => {
  if (input !== undefined && input !== null) throw new TypeError('takes no request');
};

beforeEach(() => {
  bus = new MemoryBus();
  clock = new ManualClock();
  seen = [];
  actor = new ActorSystem({ clock, name: 'test' }).spawn<Replica>('replica', replica);
  exposure = exposeActor(actor, bus, PREFIX, {
    write: (input) => {
      const { sql, at } = input as { sql: unknown; at: unknown };
      if (typeof sql !== 'string') throw new TypeError('sql must be a string');
      return { sql, ...(typeof at === 'bigint' ? { at } : {}) };
    },
    applied: (input) => {
      if (typeof input === 'number') return input;
      throw new AntiphonError('BAD_OPTION', 'seq must be a number');
    },
    ping: nothing,
    refuse: nothing,
    conflict: nothing,
    crash: nothing,
    hang: nothing,
    strange: nothing,
  });
  remote = remoteRef<Replica>(bus, PREFIX);
});

const caught = (promise: Promise<unknown>) => promise.catch((error: unknown) => error);

describe('a remote reference', () => {
  it('asks and tells as a local one does', async () => {
    expect(await remote.ask('write', { sql: 'abc', at: 2n ** 60n })).toEqual({ rows: 3, at: 2n ** 60n });
    expect(await remote.ask('write', { sql: 'abcd' })).toEqual({ rows: 4 });
    expect(await remote.ask('applied', 11)).toBe(true);
    expect(await remote.ask('ping')).toBeUndefined();
    expect(remote.tell('ping')).toBe(true);
    await idle();
    expect(seen).toEqual([{ sql: 'abc', at: 2n ** 60n }, { sql: 'abcd' }, 'ping', 'ping']);
    expect(exposure.stats).toEqual({ received: 5, refused: 0, dropped: 0, unsent: 0 });
  });

  it('gets a ConflictError as one, with its row and who was first', async () => {
    const error = await caught(remote.ask('conflict'));
    expect(error).toBeInstanceOf(ConflictError);
    const key = [
      2n ** 60n,
      'b-1',
      0.5,
      new Uint8Array([7]),
      new TaggedValue('raw-text', new Uint8Array([255])),
    ];
    const details = { table: 'orders', key, winner: { origin: 'us-1', counter: 9 } };
    expect(error).toMatchObject({ outcome: 'rejected', retriable: true, details });
    expect((error as AntiphonError).context).toMatchObject({ replica: 'eu-1', remote: PREFIX, ...details });
  });

  it('gets the errors of the actor, with code, retriable and plain context, without the cause', async () => {
    const error = await caught(remote.ask('refuse'));
    expect(error).toBeInstanceOf(AntiphonError);
    expect(error).toMatchObject({
      code: 'CONSTRAINT',
      message: 'UNIQUE constraint failed',
      retriable: true,
    });
    expect(error).not.toHaveProperty('cause');
    expect((error as AntiphonError).context).toEqual({
      table: 'orders',
      started: true,
      remote: PREFIX,
      remoteCode: 'CONSTRAINT',
    });
    expect(await caught(remote.ask('crash'))).toMatchObject({ code: 'ACTOR_STOPPED', retriable: false });
    await actor.stop();
    expect(await caught(remote.ask('ping'))).toMatchObject({
      code: 'ACTOR_STOPPED',
      context: { started: false },
    });
    expect(remote.tell('ping')).toBe(true);
    await idle();
    expect(exposure.stats).toMatchObject({ dropped: 1 });
  });

  it('is bounded in time and in number', async () => {
    expect(await caught(remote.ask('hang', undefined, { timeoutMs: 1 }))).toMatchObject({ code: 'TIMEOUT' });
    const controller = new AbortController();
    const aborted = caught(remote.ask('hang', undefined, { signal: controller.signal }));
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORTED' });
    const narrow = remoteRef<Replica>(bus, PREFIX, { maxInFlight: 1 });
    const first = caught(narrow.ask('hang', undefined, { timeoutMs: 5 }));
    expect(await caught(narrow.ask('ping'))).toMatchObject({ code: 'OVERLOADED', retriable: true });
    expect(await first).toMatchObject({ code: 'TIMEOUT' });
    const late = caught(narrow.ask('ping'));
    await clock.advance(10_000);
    expect(await late).toMatchObject({ code: 'TIMEOUT' }); // The actor still hangs; the answer comes from its side.
  });

  it('refuses what cannot be encoded', async () => {
    const request = { sql: (() => 'no') as never };
    expect(await caught(remote.ask('write', request))).toMatchObject({ code: 'BAD_OPTION' });
    expect(remote.tell('write', request)).toBe(false);
  });

  it('tells when nobody listens, and when what listens is no actor', async () => {
    exposure.close();
    exposure.close();
    expect(await caught(remote.ask('ping'))).toMatchObject({ code: 'NO_ACTOR' });
    const replies = [
      new Uint8Array([0xc1]),
      encode('text'),
      encode({ error: 'text' }),
      encode([1]),
      encode({ error: { code: 'X' } }),
    ];
    for (const reply of replies) {
      const subscription = bus.subscribe(`${PREFIX}.ping`, (request) => request.respond?.(reply));
      expect(await caught(remote.ask('ping'))).toMatchObject({ code: 'MALFORMED_MESSAGE' });
      subscription.unsubscribe();
    }
    bus.subscribe(`${PREFIX}.ping`, (request) =>
      request.respond?.(encode({ error: { code: 'FROM_THE_FUTURE', message: 'm' } })),
    );
    expect(await caught(remote.ask('ping'))).toMatchObject({
      code: 'REMOTE',
      message: 'm',
      context: { remoteCode: 'FROM_THE_FUTURE' },
    });
  });
});

describe('an exposed actor', () => {
  const ask = (command: string, data: Uint8Array) =>
    bus.request(`${PREFIX}.${command}`, data, { timeoutMs: 1000 });
  const reply = async (command: string, data: Uint8Array) => msgpackCodec.decode(await ask(command, data));

  it('keeps what is not declared to itself', async () => {
    expect(await caught(remote.ask('internal', 'secret'))).toMatchObject({ code: 'NO_ACTOR' });
    expect(() => exposeActor(actor, bus, PREFIX, { 'a.b': nothing } as never)).toThrow('token of a subject');
  });

  it('refuses bad input with a clear error before the actor sees it', async () => {
    const bad: [string, Uint8Array, object][] = [
      [
        'write',
        new Uint8Array([0xc1]),
        { code: 'MALFORMED_MESSAGE', message: expect.stringContaining('not valid MessagePack') },
      ],
      [
        'write',
        encode({ sql: 5 }),
        { code: 'MALFORMED_MESSAGE', message: expect.stringContaining('sql must be a string') },
      ],
      ['write', encode(null), { code: 'MALFORMED_MESSAGE' }],
      ['write', new Uint8Array(0), { code: 'MALFORMED_MESSAGE' }],
      ['applied', encode('x'), { code: 'BAD_OPTION', message: 'seq must be a number' }],
      ['ping', encode(new Uint8Array(2 ** 20)), { code: 'MESSAGE_TOO_LARGE' }],
    ];
    for (const [command, data, error] of bad) expect(await reply(command, data)).toMatchObject({ error });
    bus.publish(`${PREFIX}.write`, new Uint8Array([0xc1]));
    await idle();
    expect(seen).toEqual([]);
    expect(exposure.stats).toEqual({ received: 7, refused: 7, dropped: 0, unsent: 0 });
  });

  it('answers with an error when the answer cannot be encoded', async () => {
    expect(await caught(remote.ask('strange'))).toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('cannot be sent'),
    });
    expect(exposure.stats.unsent).toBe(1);
  });

  it('survives a bus that is gone when the answer comes', async () => {
    bus.refuseReplies = true;
    expect(await caught(remote.ask('ping', undefined, { timeoutMs: 5 }))).toMatchObject({ code: 'TIMEOUT' });
    bus.refuseReplies = false;
    expect(await remote.ask('applied', 1)).toBe(false);
    expect(exposure.stats.unsent).toBe(1);
  });

  it('answers any bytes, and lives (property)', async () => {
    const valid = fc.anything().map((value) => {
      try {
        return msgpackCodec.encode(value);
      } catch {
        return new Uint8Array(1);
      }
    });
    const mutated = fc.tuple(valid, fc.nat(), fc.nat(255)).map(([data, at, byte]) => {
      const copy = data.slice();
      if (copy.length > 0) copy[at % copy.length] = byte;
      return copy;
    });
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), valid, mutated);
    await fc.assert(
      fc.asyncProperty(bytes, async (data) => {
        expect(await reply('write', data)).toBeTypeOf('object');
        bus.publish(`${PREFIX}.write`, data);
      }),
      { numRuns: 2000 },
    );
    await idle();
    expect(bus.thrown).toEqual([]);
    expect(seen.every((request) => typeof (request as { sql: unknown }).sql === 'string')).toBe(true);
    expect(exposure.stats.received).toBe(4000);
    expect(actor.stats).toMatchObject({ restarts: 0, waiting: 0 });
    expect(await remote.ask('applied', 11)).toBe(true);
  });
});
