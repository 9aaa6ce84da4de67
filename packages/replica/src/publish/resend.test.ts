import { type Clock, encodeBatch, type SealedMessage } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { Resend } from './resend.js';

/** An outbox of messages with one counter each. */
class Outbox {
  nowMs = 0;
  published = 10;
  messages: SealedMessage[];
  readonly resend: Resend;

  constructor(certified: boolean, groups: readonly number[] = []) {
    this.messages = Array.from({ length: 12 }, (_, index) => message(index + 1, groups.includes(index + 1)));
    const clock: Clock = {
      nowMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      setTimer: () => ({ cancel: () => undefined }),
      yield: () => Promise.resolve(),
      random: () => 0,
    };
    const store = {
      state: () => ({ publishedCounter: this.published }) as never,
      sealed: ({ counter }: { readonly counter: number }) =>
        Promise.resolve(this.messages.filter(({ lastCounter }) => lastCounter > counter).slice(0, 3)),
    };
    this.resend = new Resend({ id: 'a', store, clock, pageBytes: 1, certified });
  }

  /** Sends as a relay does, and returns the counters. */
  async send(): Promise<readonly number[]> {
    const sent: number[] = [];
    for (let counter = this.resend.cursor?.counter; counter !== undefined && this.resend.cursor;) {
      const after = counter;
      const page = this.messages.filter(({ lastCounter }) => lastCounter > after).slice(0, 3);
      const within = this.resend.within(page);
      sent.push(...within.map(({ firstCounter }) => firstCounter));
      counter = within.at(-1)?.lastCounter;
    }
    for (const counter of sent) this.resend.acknowledged(counter);
    return Promise.resolve(sent);
  }
}

function message(counter: number, isGroup: boolean): SealedMessage {
  const data = encodeBatch({
    kind: 'transactions',
    origin: 'a',
    firstCounter: counter,
    epoch: 0,
    time: counter,
    context: {},
    schemaVersion: 1,
    tables: [],
    ...(isGroup ? { sync: { token: 't', readSeq: 0, claims: [[]] } } : {}),
    transactions: [{ counter, time: counter, changes: [] }],
  });
  return { firstCounter: counter, lastCounter: counter, part: 0, last: true, data };
}

describe('I3: publishing again', () => {
  it('begins with what is missed, and ends with what was published', async () => {
    const outbox = new Outbox(false);
    expect(await outbox.resend.ask(4)).toMatchObject({ state: 'sending' });
    expect(await outbox.send()).toEqual([4, 5, 6, 7, 8, 9, 10]);
    expect(outbox.resend.cursor).toBeUndefined();
    expect(await outbox.resend.ask(11)).toMatchObject({ state: 'coming' });
  });

  it('goes on after the last acknowledgement when the relay has to go back', async () => {
    const { resend } = new Outbox(false);
    await resend.ask(4);
    resend.acknowledged(6);
    resend.restart();
    expect(resend.cursor).toEqual({ counter: 6, part: 0, whole: true });
    expect(await resend.ask(8)).toMatchObject({ state: 'coming' });
    expect(await resend.ask(2)).toMatchObject({ state: 'later' });
    resend.acknowledged(10);
    resend.restart();
    expect(resend.cursor).toBeUndefined();
  });

  it('I11: does the same again only after a pause that grows; progress begins anew', async () => {
    const outbox = new Outbox(false);
    let pauseMs = 0;
    for (let times = 0; times < 12; times++) {
      const askedMs = outbox.nowMs;
      while ((await outbox.resend.ask(4)).state === 'later') outbox.nowMs += 500;
      expect(outbox.nowMs - askedMs).toBeGreaterThanOrEqual(pauseMs);
      pauseMs = outbox.nowMs - askedMs;
      await outbox.send();
    }
    expect(pauseMs).toBe(300_000);
    expect(await outbox.resend.ask(5)).toMatchObject({ state: 'sending' });
  });

  it('says that it is gone', async () => {
    const outbox = new Outbox(false);
    outbox.messages = outbox.messages.slice(6);
    expect(await outbox.resend.ask(6)).toMatchObject({ state: 'gone' });
    expect(outbox.resend.cursor).toBeUndefined();
    expect(await outbox.resend.ask(7)).toMatchObject({ state: 'sending' });
  });

  it('never publishes a group again where groups are judged by their place', async () => {
    const outbox = new Outbox(true, [6, 7]);
    expect(await outbox.resend.ask(6)).toMatchObject({ state: 'refused' });
    expect(await outbox.resend.ask(4)).toMatchObject({ state: 'sending' });
    expect(await outbox.send()).toEqual([4, 5]);
    expect(await outbox.resend.ask(8)).toMatchObject({ state: 'sending' });
    expect(await outbox.send()).toEqual([8, 9, 10]);
    const uncertified = new Outbox(false, [6, 7]);
    expect(await uncertified.resend.ask(6)).toMatchObject({ state: 'sending' });
  });
});
