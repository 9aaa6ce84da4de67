import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { Fixture } from '../testing/fixture.js';

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
});
