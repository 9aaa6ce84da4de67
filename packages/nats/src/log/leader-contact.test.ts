import type { ClusterInfo, PeerInfo, StreamInfo } from 'nats';
import { describe, expect, it } from 'vitest';
import { assertLeads, leaderSilenceMs } from './leader-contact.js';

const MS = 1e6;

function clusterOf(...silencesMs: readonly number[]): ClusterInfo {
  const replicas = silencesMs.map((ms, n): PeerInfo => ({
    ...{ name: `n${n + 1}`, current: true, lag: 0 },
    ...(ms === Infinity ? { offline: true, active: 0 } : { offline: false, active: ms * MS }),
  }));
  return { leader: 'n0', replicas };
}

describe('for how long the leader of a stream has not heard most of its servers', () => {
  it.each([
    [undefined, 0],
    [clusterOf(), 0],
    [clusterOf(900, 20), 20],
    [clusterOf(900, 60_000), 900],
    [clusterOf(Infinity, 300), 300],
    // As a server says of one that it has not heard since it leads.
    [clusterOf(0, 300), 300],
    [clusterOf(0, 0), Infinity],
    [clusterOf(Infinity, Infinity), Infinity],
    // Of four it takes two others, of five as well.
    [clusterOf(10, 20, 9000), 20],
    [clusterOf(10, 20, 9000, 9000), 20],
    [clusterOf(10, 8000, 9000, 9000), 8000],
  ])('%j', (cluster, silentMs) => {
    expect(leaderSilenceMs(cluster)).toBe(silentMs);
  });
});

it('takes no answer of one that may have been replaced', () => {
  const info = (cluster?: ClusterInfo): StreamInfo =>
    ({ cluster, config: { name: 'S' } }) as unknown as StreamInfo;
  expect(() => assertLeads(info())).not.toThrow();
  expect(() => assertLeads(info(clusterOf(900, Infinity)))).not.toThrow();
  expect(() => assertLeads(info(clusterOf(44_000, 43_000)))).toThrow(
    expect.objectContaining({
      code: 'LOG_UNAVAILABLE',
      message: expect.stringMatching(/server n0.*stream S.*last heard them 43 s ago/) as string,
    }),
  );
  expect(() => assertLeads(info(clusterOf(Infinity, Infinity)))).toThrow(/offline/);
});
