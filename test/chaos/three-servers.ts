import { connectNats, type NatsHandle } from '@antiphon/nats';
import { eventually } from '@antiphon/testing';
import { ServerCluster } from '../../packages/nats/src/testing/server-cluster.js';

export const PATIENCE_MS = 90_000;

/** Three servers that hold the streams of the cluster `chaos`, and a connection to them. */
export class ThreeServers {
  private constructor(
    readonly servers: ServerCluster,
    readonly nats: NatsHandle,
  ) {}

  /** As an operator makes them: replicas create them on one server. The lease goes by the log. */
  static async start(): Promise<ThreeServers> {
    const servers = await ServerCluster.start();
    let nats: NatsHandle | undefined;
    const prepare = async (): Promise<boolean> => {
      nats ??= await connectNats({ servers: servers.urls });
      await nats.log('chaos', { replicas: 3 }).open({ create: true });
      await nats.registry('chaos', { replicas: 3 }).open();
      return true;
    };
    try {
      await eventually('three servers hold the streams', () => prepare().catch(() => false), PATIENCE_MS);
      if (nats === undefined) throw new Error('there is no connection');
      return new ThreeServers(servers, nats);
    } catch (error) {
      await servers.stop();
      throw error;
    }
  }

  /** The server that leads a stream. */
  leaderOf(stream: string): Promise<string> {
    const leader = async (): Promise<string | undefined> =>
      (await this.nats.api.streamInfo(stream).catch(() => undefined))?.cluster?.leader;
    return eventually(`${stream} has a leader`, leader, PATIENCE_MS);
  }

  async stop(): Promise<void> {
    await this.nats.close();
    await this.servers.stop();
  }
}
