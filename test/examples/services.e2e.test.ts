import { describe, expect, it } from 'vitest';
import { runExample, shownBy, withoutFigures } from './run-example.js';

describe('examples/fastify', () => {
  it('loses no note when the service with the primary ends, and answers what is under way', async () => {
    const output = withoutFigures(await runExample('fastify', ['--once']));
    const either = (text: string): string =>
      text.replaceAll(/the primary is eu-[23]/g, 'the primary is another');
    expect(either(`${output}Ctrl-C ends it.\n`)).toBe(either(shownBy('fastify')));
  });
});

describe('examples/nest-shutdown', () => {
  it('answers the request that is under way, and closes its replica after it', async () => {
    expect(await runExample('nest-shutdown')).toBe(shownBy('nest-shutdown'));
  });
});
