import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { connectNats } from '../connection/nats-handle.js';
import { ServerCluster } from '../testing/server-cluster.js';
import { describeServer } from './describe-server.js';

const PATIENCE_MS = 30_000;

describe('describeServer, of three servers', () => {
  it('warns where one of them keeps the log', { timeout: 3 * PATIENCE_MS }, async () => {
    const servers = await ServerCluster.start();
    const nats = await eventually(
      'a server answers',
      () => connectNats({ servers: servers.urls }).catch(() => undefined),
      PATIENCE_MS,
    );
    try {
      const isOpen = (cluster: string, replicas: number) => (): Promise<boolean> =>
        nats
          .log(cluster, { replicas })
          .open({ create: true })
          .then(
            () => true,
            () => false,
          );
      await eventually('the servers are a cluster', isOpen('shop', 3), PATIENCE_MS);
      await eventually('a log on one of them', isOpen('alone', 1), PATIENCE_MS);
      // nats-server below 2.10.27 has a warning of its own about copies.
      const about = async (cluster: string): Promise<readonly string[]> =>
        (await describeServer(nats, { cluster })).warnings.filter((text) =>
          text.includes('while that one is away'),
        );
      expect(await about('shop')).toEqual([]);
      expect(await about('alone')).toEqual([
        expect.stringMatching(
          /^The NATS cluster test keeps the log on one server, n[0-2]: .*ANTIPHON_alone --replicas 3/,
        ),
      ]);
    } finally {
      await nats.close();
      await servers.stop();
    }
  });

  it(
    'a log on three is asked for again while the others are not there',
    { timeout: 3 * PATIENCE_MS },
    async () => {
      const servers = await ServerCluster.start();
      const nats = await eventually(
        'a server answers',
        () => connectNats({ servers: servers.urls }).catch(() => undefined),
        PATIENCE_MS,
      );
      try {
        const refused = async (): Promise<string | undefined> => {
          const opening = nats.log('shop', { replicas: 5 }).open({ create: true });
          const error = await opening.then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          expect(error).toMatchObject({ code: 'LOG_UNAVAILABLE' });
          const { message } = error as Error;
          return message.includes('smaller `streamReplicas`') ? message : undefined;
        };
        expect(await eventually('there are too few', refused, PATIENCE_MS)).toContain(
          'Start the other servers',
        );
      } finally {
        await nats.close();
        await servers.stop();
      }
    },
  );
});
