import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { bytes, Fixture, text } from '../testing/fixture.js';
import { RawServer } from '../testing/raw-server.js';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await Fixture.start();
});
afterAll(() => fixture.stop());

describe('a stream that another client is making', () => {
  // nats-server 2.9 shows it before its store is open, and a message that is asked of it then ends
  // the server.
  it('is not asked for messages before it is complete', async () => {
    const asked: NatsHandle[] = [];
    for (let n = 0; n < 6; n++) asked.push(await fixture.connect());
    for (let round = 0; round < 150; round++) {
      const name = `made-${round}`;
      const [maker, ...readers] = asked;
      const making = maker!.api.createStream({ name, subjects: [`${name}.>`] });
      const reading = readers.map(async ({ api }) => {
        for (;;) {
          const state = await api.lastMessage(name, `${name}.x`).then(
            () => 'there',
            (error: unknown) => String(error),
          );
          if (state === 'there') return;
          expect(state).toMatch(/stream not found/);
        }
      });
      await Promise.all([making, ...reading]);
      await maker!.api.streamInfo(name);
    }
    expect(fixture.server.state).toBe('running');
  });

  // The window is too short to be met on purpose: what stands in front of the server lengthens it.
  it('is asked for messages once it shows when it was born', async () => {
    await using door = await Door.to(fixture);
    const { api, connection } = await fixture.connect();
    await api.createStream({ name: 'slow', subjects: ['slow.>'] });
    connection.publish('slow.x', bytes('first'));
    await using nats = await connectNats({ servers: door.url });
    const last = nats.api.lastMessage('slow', 'slow.x');
    await eventually('it asked twice', () => door.asked.length > 1, 5000);
    expect(new Set(door.asked)).toEqual(new Set(['STREAM.INFO.slow']));
    door.isBorn = true;
    expect(text((await last)?.data)).toBe('first');
    expect(door.asked.slice(-2)).toEqual(['STREAM.INFO.slow', 'STREAM.MSG.GET.slow']);
  });
});

/**
 * A server whose JetStream is that of another one, where streams show themselves as they do in
 * nats-server 2.9 before their stores are open.
 */
class Door implements AsyncDisposable {
  readonly asked: string[] = [];
  isBorn = false;

  private constructor(
    private readonly server: RawServer,
    private readonly inside: NatsHandle,
    private readonly outside: NatsHandle,
  ) {}

  static async to(fixture: Fixture): Promise<Door> {
    const server = await RawServer.start('# No JetStream.');
    const door = new Door(server, await fixture.connect(), await connectNats({ servers: server.url }));
    const prefix = '$JS.API.';
    door.outside.connection.subscribe(`${prefix}>`, {
      callback: (_, request) => {
        door.asked.push(request.subject.slice(prefix.length));
        void door.#answer(request.subject, request.data).then((answer) => request.respond(answer));
      },
    });
    await door.outside.connection.flush();
    return door;
  }

  get url(): string {
    return this.server.url;
  }

  async #answer(subject: string, data: Uint8Array): Promise<Uint8Array> {
    const outcome = await this.inside.requester.request(subject, data, { timeoutMs: 1000 });
    if (outcome.type !== 'reply') throw new Error(outcome.type);
    if (this.isBorn || !subject.includes('STREAM.INFO')) return outcome.message.data;
    const shown = JSON.parse(text(outcome.message.data)) as object;
    return bytes(JSON.stringify({ ...shown, created: '0001-01-01T00:00:00Z' }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.outside.close();
    await this.server.stop();
  }
}
