import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { sectionsJson, sectionsOf } from './operations-page.js';
import { sectionText } from './section-text.js';

const page = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');

it('pages/operations.json is up to date (npm run operations -w @antiphon/cli)', () => {
  const published = readFileSync(new URL('../../pages/operations.json', import.meta.url), 'utf8');
  expect(published).toBe(sectionsJson(page));
});

it('finds the sections of all three kinds, with the anchors that their headings get', () => {
  const sections = sectionsOf(page);
  expect(sections.length).toBeGreaterThan(80);
  expect(sections.map(({ anchor }) => anchor)).toEqual(
    expect.arrayContaining(['alarm-not-replicated', 'state-no-nats', 'store_full']),
  );
  expect(sections.every(({ text }) => text.startsWith('```text') && text.includes('**Over:**'))).toBe(true);
});

it('shows one in a terminal: what is seen stands apart, and links say where they lead', () => {
  const text = [
    '```text',
    'eu-1: It waits.',
    '```',
    '',
    '- **Means:** see [the state](#state-no-nats), [clocks](failover.md#wrong-clocks) and',
    '  [lost-log.md](lost-log.md).',
  ].join('\n');
  const section = { kind: 'alarm', name: 'log', anchor: 'alarm-log', text } as const;
  expect(sectionText(section, { color: false, interactive: false, columns: 80 })).toBe(
    [
      'The alarm log',
      '',
      '    eu-1: It waits.',
      '',
      '- Means: see the state (antiphon explain no-nats), clocks (docs/failover.md) and',
      '  docs/lost-log.md.',
      '',
    ].join('\n'),
  );
});
