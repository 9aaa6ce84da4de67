import { systemClock, type Bus } from '@antiphon/core';
import { describeTypos } from '@antiphon/testing/internal';
import { afterAll } from 'vitest';
import { ActorSystem, exposeActor, remoteRef, type Behaviour } from './index.js';

interface Echo {
  echo(text: string): string;
}

const system = new ActorSystem({ clock: systemClock() });
const echo = (): Behaviour<Echo> => ({ receive: { echo: (text) => text } });
const ref = system.spawn<Echo>('echo', echo);
const bus = {} as Bus;
afterAll(() => system.stop());

describeTypos({
  ActorSystemOptions: {
    option: 'askTimeoutMs',
    given: { clock: systemClock() },
    call: (options) => new ActorSystem(options),
  },
  SpawnOptions: { option: 'mailbox', call: (options) => system.spawn('one', echo, options) },
  MailboxOptions: {
    option: 'laneOf',
    given: { lanes: { all: {} } },
    call: (mailbox) => system.spawn('two', echo, { mailbox }),
  },
  LaneOptions: {
    option: 'capacity',
    call: (all) => system.spawn('three', echo, { mailbox: { lanes: { all }, laneOf: { echo: 'all' } } }),
  },
  'AskOptions of an actor': { option: 'timeoutMs', call: (options) => ref.ask('echo', 'a', options) },
  'AskOptions of a remote actor': {
    option: 'timeoutMs',
    call: (options) => remoteRef<Echo>(bus, 'a').ask('echo', 'a', options),
  },
  'the options of stop()': { option: 'timeoutMs', call: (options) => ref.stop(options) },
  ExposeOptions: { option: 'codec', call: (options) => exposeActor(ref, bus, 'a', {}, options) },
  RemoteRefOptions: { option: 'maxInFlight', call: (options) => remoteRef(bus, 'a', options) },
});
