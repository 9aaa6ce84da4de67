import type { Publication, PublishSettings } from '@antiphon/core';
import { connectNats, type NatsHandle } from '@antiphon/nats';
import { NatsServer } from '@antiphon/nats-server';
import type { Broker, BrokerConnection } from './broker.js';

/** A nats-server on a free port of this machine, with its store in a folder of the test. */
export class NatsBroker implements Broker {
  readonly kind = 'nats';

  private constructor(private readonly server: NatsServer) {}

  /** @throws AntiphonError NATS_SERVER_NOT_FOUND, NATS_SERVER_START */
  static async start(storeDir: string): Promise<NatsBroker> {
    return new NatsBroker(await NatsServer.start({ storeDir }));
  }

  get url(): string {
    return this.server.url;
  }

  async connect(cluster: string, publish?: PublishSettings): Promise<BrokerConnection> {
    const nats = await connectNats({ servers: this.url });
    return {
      log: nats.log(cluster),
      bus: nats.bus(),
      registry: nats.registry(cluster),
      lease: nats.lease(cluster),
      ...(publish && { publication: publicationOf(nats, cluster, publish) }),
      close: () => nats.close(),
    };
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  async start(): Promise<void> {
    if (this.server.state === 'stopped') await this.server.restart();
  }

  close(): Promise<void> {
    return this.server.stop();
  }
}

function publicationOf(
  nats: NatsHandle,
  cluster: string,
  { stream, subject, retention }: PublishSettings,
): Publication {
  return nats.publication({ cluster, stream, subjects: subject.wildcard, retention });
}
