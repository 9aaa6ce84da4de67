import { describe, expect, it } from 'vitest';
import { runExample, shownBy, withoutFigures } from './run-example.js';

describe('examples/nats-cluster', () => {
  it('writes on when the server that leads the log is killed, and loses nothing', async () => {
    const names = (text: string): string => withoutFigures(text).replaceAll(/\bn[123]\b/g, 'n');
    expect(names(await runExample('nats-cluster'))).toBe(names(shownBy('nats-cluster')));
  });
});
