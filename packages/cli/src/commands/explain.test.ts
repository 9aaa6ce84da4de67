import { ALARMS, ERROR_CODES } from '@antiphon/core';
import { expect, it } from 'vitest';
import type { Terminal } from '../output/terminal.js';
import { createProgram } from '../program.js';

/** To a pipe. */
function explain(...args: readonly string[]): Promise<string> {
  return explainOn({ interactive: false }, ...args);
}

async function explainOn(place: Partial<Terminal>, ...args: readonly string[]): Promise<string> {
  let text = '';
  const program = createProgram({
    context: (json) => ({
      terminal: {
        ...{ json, color: false, out: (part: string) => void (text += part) },
        ...place,
      } as unknown as Terminal,
      env: {},
      cwd: '/',
      signal: new AbortController().signal,
    }),
    finished: () => undefined,
  });
  await program.parseAsync(['node', 'antiphon', 'explain', ...args]);
  return text;
}

it('knows every alarm by the name that a replica raises it under, and every error code', async () => {
  const names = [
    ...ALARMS,
    'clock eu-2',
    'denied publish antiphon.shop.log.eu-1',
    ...Object.keys(ERROR_CODES),
  ];
  for (const name of names) expect(await explain(name), name).toMatch(/^The (alarm|error) .+\n\n/);
  expect(await explain('clock eu-2')).toBe(await explain('clock'));
});

it('takes what `antiphon status` names, several at once, in whatever case', async () => {
  expect(await explain('no-nats', 'not-replicated', 'store_full')).toMatch(
    /^The state no NATS\n[^]*\nThe alarm not replicated\n[^]*\nThe error STORE_FULL\n/,
  );
  expect(await explain('CONFLICT')).toBe(
    `The error CONFLICT\n\n- Means: ${ERROR_CODES.CONFLICT.means}\n- Do: ${ERROR_CODES.CONFLICT.do}\n`,
  );
});

it('keeps to the width of a terminal, and leaves what is seen as it is', async () => {
  const names = [...ALARMS, 'no-nats', 'away', 'STORE_FULL'];
  for (const name of names) {
    const lines = (await explainOn({ interactive: true, columns: 60 }, name)).split('\n');
    for (const line of lines)
      if (!line.startsWith('    ') && line.trim().includes(' '))
        expect(line.length, line).toBeLessThanOrEqual(60);
    const words = (text: string): string => text.split(/\s+/).join(' ');
    expect(words(lines.join('\n'))).toBe(words(await explain(name)));
  }
});

it('lists what it knows, and suggests what was meant', async () => {
  expect(await explain()).toMatch(
    /^alarms\n  publish\n[^]*\nstates\n  away\n[^]*  no-nats\n[^]*\nerrors\n  SCHEMA_DRIFT\n/,
  );
  await expect(explain('publsh')).rejects.toMatchObject({
    code: 'BAD_OPTION',
    message: 'Nothing is called "publsh". Did you mean "publish"?',
  });
});

it('has each section as JSON', async () => {
  const { sections } = JSON.parse(await explain('rescue', '--json')) as { sections: readonly object[] };
  expect(sections).toMatchObject([{ kind: 'alarm', name: 'rescue', anchor: 'alarm-rescue' }]);
});
