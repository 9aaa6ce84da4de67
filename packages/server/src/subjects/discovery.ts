import type { Bus, BusRequest, BusSubscription } from '@antiphon/core';
import { type Endpoint, type EndpointStats, QUEUE } from './endpoint.js';

/** What NATS's tools are told of a service. */
export interface Described {
  /** Of all replicas of the cluster. */
  readonly name: string;
  /** Of the replica. */
  readonly id: string;
  readonly version: string;
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly started: Date;
  readonly endpoints: readonly Endpoint[];
}

type Verb = 'PING' | 'INFO' | 'STATS';
const encoder = new TextEncoder();

/**
 * Answers NATS's own service discovery (`$SRV.PING`, `.INFO` and `.STATS`, of all services, of this
 * name, and of this one; ADR-32 of the NATS architecture), so that `nats service list` and others
 * find it. `describe` is asked each time.
 */
export function answerDiscovery(bus: Bus, describe: () => Described): BusSubscription[] {
  const { name, id } = describe();
  const answer = ({ subject, respond }: BusRequest): void => {
    const verb = subject.split('.')[1];
    const told = isVerb(verb) ? TELL[verb](describe()) : undefined;
    if (told !== undefined) respond?.(encoder.encode(JSON.stringify(told)));
  };
  return ['$SRV.*', `$SRV.*.${name}`, `$SRV.*.${name}.${id}`].map((subject) =>
    bus.subscribe(subject, answer),
  );
}

const TELL: Readonly<Record<Verb, (described: Described) => object>> = {
  PING: (described) => ({ type: 'io.nats.micro.v1.ping_response', ...identity(described) }),
  INFO: (described) => ({
    type: 'io.nats.micro.v1.info_response',
    ...identity(described),
    description: described.description,
    // Where a request would be answered now.
    endpoints: described.endpoints
      .filter(({ isListening }) => isListening)
      .map(({ name, subject }) => ({ name, subject, queue_group: QUEUE, metadata: {} })),
  }),
  STATS: (described) => ({
    type: 'io.nats.micro.v1.stats_response',
    ...identity(described),
    started: described.started.toISOString(),
    endpoints: described.endpoints.map(({ stats }): EndpointStats => stats),
  }),
};

function identity({ name, id, version, metadata }: Described): object {
  return { name, id, version, metadata };
}

function isVerb(text: string | undefined): text is Verb {
  return text !== undefined && Object.hasOwn(TELL, text);
}
