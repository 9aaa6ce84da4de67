import { AntiphonError, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { type Executed, Requests } from './requests.js';

const WRITTEN: Executed = { outcome: 'committed', position: { generation: 'g', seq: 1 }, value: [1] };
const REFUSED = new AntiphonError('CONSTRAINT', 'It is so.');
const limits = { writeTimeoutMs: 1000 };
const held = { bars: false };
const scope = { clock: systemClock(), limits, held, store: { requests: {} } } as unknown as ReplicaScope;
const untilLeased = (): Promise<never> => Promise.reject(new Error('nobody waits for a lease'));
const of = (call: string, again: boolean, epoch = 1) => ({ id: 'r', statements: [], epoch, call, again });

/** The first write is refused when the test says so, and nothing is in the way of later ones. */
function requests(): { readonly asked: Requests; readonly refuse: () => void } {
  let refuse = (): void => undefined;
  const first = new Promise<Executed>((_, reject) => {
    refuse = () => reject(REFUSED);
  });
  let isFirst = true;
  const write = (): Promise<Executed> => {
    if (!isFirst) return Promise.resolve(WRITTEN);
    isFirst = false;
    return first;
  };
  return { asked: new Requests(scope, { write, untilLeased }), refuse };
}

describe('a refusal', () => {
  it('I8: is that of the whole call once it has asked again, also while the first one waits', async () => {
    const { asked, refuse } = requests();
    const answers = Promise.allSettled([of('a', false), of('a', true)].map((one) => asked.once(one, {})));
    refuse();
    expect(await answers).toMatchObject([{ reason: REFUSED }, { reason: REFUSED }]);
    await expect(asked.once(of('a', false), {})).rejects.toBe(REFUSED);
  });

  it('says nothing of other calls, of another epoch, or of a call that has asked once', async () => {
    for (const [refused, later] of [
      [of('a', true), of('b', true)],
      [of('a', true), of('a', true, 3)],
      [of('a', false), of('a', true)],
    ] as const) {
      const { asked, refuse } = requests();
      const answer = asked.once(refused, {});
      refuse();
      await expect(answer).rejects.toBe(REFUSED);
      expect(await asked.once(later, {})).toEqual(WRITTEN);
    }
  });
});

it('I10: what waits behind a run that cost the lease does not run before there is one again', async () => {
  const lost = { bars: false };
  const deposed = new AntiphonError('NOT_WRITABLE', 'Another one is the primary.');
  const tooLong = new AntiphonError('TIMEOUT', 'It kept the replica.', { context: { outlasted: true } });
  let runs = 0;
  const asked = new Requests({ ...scope, held: lost } as unknown as ReplicaScope, {
    write: async () => {
      runs++;
      await Promise.resolve();
      lost.bars = true;
      throw tooLong;
    },
    untilLeased: () => Promise.reject(deposed),
  });
  const calls = ['a', 'b', 'c'].map((call) => asked.once(of(call, false), {}));
  expect(await Promise.allSettled(calls)).toMatchObject([
    ...[{ reason: tooLong }, { reason: deposed }, { reason: deposed }],
  ]);
  expect(runs).toBe(1);
});
