import type { AntiphonError } from '@antiphon/core';
import { beforeEach, expect, it } from 'vitest';
import { ManualClock } from '../../test/manual-clock.js';
import { parseBundleReply } from './bundle.js';
import { BundleDesk } from './bundle-desk.js';
import { msgpackCodec } from './codec.js';
import { decodeReply } from './reply.js';

const unsendable = (thrown: unknown): AntiphonError => thrown as AntiphonError;
const reply = (bytes: number): Uint8Array => msgpackCodec.encode({ ok: 'x'.repeat(bytes) });

let clock: ManualClock;
let desk: BundleDesk;
let sent: Uint8Array[];
const asker = { subject: 's', data: new Uint8Array(), respond: (data: Uint8Array) => void sent.push(data) };
const replies = () => sent.flatMap((data) => parseBundleReply(msgpackCodec, data)?.replies ?? []);
const rest = (): string => parseBundleReply(msgpackCodec, sent.at(-1)!)?.rest ?? '';
const valueOf = (data: Uint8Array): unknown => decodeReply(msgpackCodec, data, 'shop');

beforeEach(() => {
  clock = new ManualClock();
  sent = [];
  desk = new BundleDesk({ codec: msgpackCodec, clock, unsendable }, 1000);
});

it('keeps so much for those who have not asked for it yet, and errors beyond that', async () => {
  const slow = desk.open(5, asker);
  slow.reply(0, reply(1));
  await clock.advance(1);
  expect(replies()).toHaveLength(1);
  slow.reply(1, reply(600));
  slow.reply(2, reply(600));
  // Of others as well.
  const other = desk.open(2, asker);
  other.reply(0, reply(600));
  await clock.advance(1);
  const [, [, refused]] = replies() as [unknown, [number, Uint8Array]];
  expect(() => valueOf(refused)).toThrow(expect.objectContaining({ code: 'OVERLOADED', retriable: true }));
  sent = [sent[0]!];
  desk.attend(rest(), asker);
  slow.reply(3, reply(600));
  const [, first, second] = replies() as [unknown, ...[number, Uint8Array][]];
  expect(valueOf(first![1])).toBe('x'.repeat(600));
  expect(() => valueOf(second![1])).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
});

it('keeps nothing for those who do not ask any more', async () => {
  for (let round = 0; round < 5; round++) {
    const open = desk.open(4, asker);
    open.reply(0, reply(1));
    await clock.advance(1);
    open.reply(1, reply(900));
    await clock.advance(30_000);
    // It is forgotten, and what comes later is not kept.
    for (const index of [2, 3]) open.reply(index, reply(900));
  }
  const last = desk.open(2, asker);
  last.reply(0, reply(1));
  await clock.advance(1);
  last.reply(1, reply(900));
  desk.attend(rest(), asker);
  expect(valueOf(replies().at(-1)![1])).toBe('x'.repeat(900));
});
