import { AntiphonError } from '@antiphon/core';
import type { PeerInfo, StreamInfo } from 'nats';
import { afterEach, expect, it, vi } from 'vitest';
import { LogGuard, viewOf } from './log-guard.js';

afterEach(() => void vi.restoreAllMocks());

const PEER: PeerInfo = { name: 'n1', current: true, offline: false, active: 1_000_000, lag: 0 };

function infoOf(lastSeq: number): StreamInfo {
  const state = { first_seq: 1, last_seq: lastSeq, num_deleted: 0 };
  const cluster = { leader: 'n0', replicas: [PEER, PEER] };
  return { created: 'then', state, cluster, config: { max_msg_size: -1 } } as unknown as StreamInfo;
}

/** What servers answer is made up here, for no server shows too little when it is told to. */
it('I14: believes of several servers that the log is shorter once they have said so without a pause', async () => {
  let nowMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  let answer = (): StreamInfo => infoOf(7);
  const api = { streamInfo: async () => answer() };
  const deps = { api, watch: { on: () => () => undefined }, cluster: 'shop', checkIntervalMs: 3_600_000 };
  const guard = new LogGuard(deps as unknown as ConstructorParameters<typeof LogGuard>[0]);
  try {
    guard.adopt(viewOf(infoOf(9), 'g'));
    await expect(guard.check()).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    nowMs = 30_000;
    answer = () => {
      throw new AntiphonError('LOG_UNAVAILABLE', 'Nobody leads it.');
    };
    await expect(guard.check()).rejects.toThrow('Nobody leads it.');
    answer = () => infoOf(7);
    await expect(guard.check(), 'begins anew').rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    nowMs += 10_000;
    await expect(guard.check()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
  } finally {
    guard.close();
  }
});
