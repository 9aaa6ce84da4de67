import type { Bus } from '@antiphon/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from './error-code.js';
import { bytes, text, until } from './log/use.js';

export interface BusHarness {
  /** Another connection, as another process would have. */
  connect(): Promise<Bus>;
  /** Nobody reaches the others any more until what comes back is called. */
  interrupt(): Promise<() => Promise<void>>;
  dispose(): Promise<void>;
}

const SUBJECT = 'conformance.a.b';

/** Everything that a Bus must do, as a vitest suite. */
export function busConformance(name: string, makeHarness: () => Promise<BusHarness>): void {
  describe(`bus conformance: ${name}`, () => {
    let harness: BusHarness | undefined;
    let one: Bus;
    let two: Bus;
    beforeEach(async () => {
      harness = await makeHarness();
      one = await harness.connect();
      two = await harness.connect();
    });
    afterEach(async () => {
      await harness?.dispose();
      harness = undefined;
    });

    /** A subscription is known to the others after a while only. */
    const heardBy = async (subject: string, has: () => boolean): Promise<void> => {
      await until(`a message on ${subject} was heard`, () => {
        if (!has()) one.publish(subject, bytes('hello'));
        return has();
      });
    };

    it('brings messages to all who listen, by wildcards as well', async () => {
      const heard = new Map<string, string>();
      for (const pattern of [SUBJECT, 'conformance.*.b', 'conformance.>']) {
        two.subscribe(pattern, ({ subject, data }) => heard.set(pattern, `${subject} ${text(data)}`));
      }
      two.subscribe('conformance.*', () => heard.set('too short', ''));
      await heardBy(SUBJECT, () => heard.size >= 3);
      expect([...heard.entries()].sort()).toEqual([
        ['conformance.*.b', `${SUBJECT} hello`],
        ['conformance.>', `${SUBJECT} hello`],
        [SUBJECT, `${SUBJECT} hello`],
      ]);
    });

    it('brings the answer to whoever asked', async () => {
      two.subscribe(SUBJECT, ({ data, respond }) => respond?.(bytes(`answer to ${text(data)}`)));
      await until('somebody answers', async () => {
        const answer = await one.request(SUBJECT, bytes('q'), { timeoutMs: 1000 }).catch(() => undefined);
        return text(answer) === 'answer to q';
      });
      const answers = await Promise.all(
        ['x', 'y', 'z'].map(async (question) => text(await one.request(SUBJECT, bytes(question), { timeoutMs: 5000 }))),
      );
      expect(answers).toEqual(['answer to x', 'answer to y', 'answer to z']);
    });

    it('says why there is no answer', async () => {
      expect(await one.request('nobody.there', bytes(''), { timeoutMs: 5000 }).then(() => 'answered', codeOf)).toBe('NO_ACTOR');
      let heard = false;
      two.subscribe(SUBJECT, () => {
        heard = true;
      });
      await heardBy(SUBJECT, () => heard);
      expect(await one.request(SUBJECT, bytes(''), { timeoutMs: 50 }).then(() => 'answered', codeOf)).toBe('TIMEOUT');
      const abort = new AbortController();
      const asked = one.request(SUBJECT, bytes(''), { timeoutMs: 5000, signal: abort.signal }).then(() => 'answered', codeOf);
      abort.abort();
      expect(await asked).toBe('ABORTED');
    });

    it('brings each message to one of a queue group', async () => {
      const counts = [0, 0];
      for (const index of [0, 1]) two.subscribe(SUBJECT, () => (counts[index] = (counts[index] ?? 0) + 1), { queue: 'group' });
      let marks = 0;
      two.subscribe('mark', () => marks++);
      await heardBy('mark', () => marks > 0);
      for (let i = 0; i < 100; i++) one.publish(SUBJECT, bytes(''));
      await until('all have come', () => (counts[0] ?? 0) + (counts[1] ?? 0) >= 100);
      const before = marks;
      one.publish('mark', bytes(''));
      await until('a later message has come', () => marks > before);
      expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(100);
    });

    it('survives handlers that throw, and forgets those that unsubscribe', async () => {
      let calls = 0;
      const subscription = two.subscribe(SUBJECT, () => {
        calls++;
        throw new Error('a handler may throw');
      });
      await heardBy(SUBJECT, () => calls > 1);
      subscription.unsubscribe();
      subscription.unsubscribe();
      let marks = 0;
      two.subscribe('mark', () => marks++);
      await heardBy('mark', () => marks > 0);
      const before = calls;
      one.publish(SUBJECT, bytes(''));
      const marked = marks;
      one.publish('mark', bytes(''));
      await until('a later message has come', () => marks > marked);
      expect(calls).toBe(before);
    });

    it('drops what cannot be sent, and works again afterwards', async () => {
      let heard = 0;
      two.subscribe(SUBJECT, () => heard++);
      await heardBy(SUBJECT, () => heard > 0);
      const mend = await harness?.interrupt();
      expect(() => one.publish(SUBJECT, bytes('lost'))).not.toThrow();
      const failed = await one.request(SUBJECT, bytes(''), { timeoutMs: 300 }).then(() => 'answered', codeOf);
      expect(['LOG_UNAVAILABLE', 'TIMEOUT']).toContain(failed);
      await mend?.();
      const before = heard;
      await heardBy(SUBJECT, () => heard > before);
    });
  });
}
