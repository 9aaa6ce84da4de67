import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ALARMS, ERROR_CODES } from '@antiphon/core';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (/** @type {string} */ path) => readFileSync(join(ROOT, path), 'utf8');
const page = read('docs/operations.md');

/** States in which there is nothing to do, or that last for a moment of a start or an end. */
const WELL = ['bootstrapping', 'following', 'primary', 'closing', 'closed'];
const LABELS = ['Means', 'Safe', 'Do', 'Over'];
const MAX_LINES = 30;
/** Characters; shorter ones are found anywhere. */
const LEAST_QUOTED = 14;
/** What a quoted text has as an example: names, numbers, codes, and what depends on them. */
const EXAMPLE = new RegExp(
  [
    ...['…', 'error: ', ' {2,}', '"', String.raw`\[[A-Z_]+\]`, String.raw`\b[A-Z]+_[A-Z]+\b`],
    ...['entry of the log was', 'ANTIPHON_shop', 'nats://', String.raw`\(only here`],
    ...[String.raw`\b(?:eu-\d|shop|orders(?:_search)?|stock|notes|max_bytes|totals)\b`, "'A-7'"],
    ...[String.raw`\d[\dTZ:.-]*(?: (?:s|min)\b)?`, String.raw`\brows were\b`, String.raw`\breplicas? is\b`],
    ...[String.raw`\((?:once|table|reconnecting)\b`, 'and its changes', 'What it changed', 'the view'],
    ...['Start the primary', 'it is rewinding', 'publish to', 'the publish'],
  ].join('|'),
);
/** SQLite and nats-server say these. */
const OF_OTHERS = [
  ...['database disk image is malformed', 'database or disk is full', 'database is locked', 'disk I/O error'],
  ...['attempt to write a readonly database', 'maximum bytes exceeded'],
];

/** @param {RegExp} heading */
function sections(heading) {
  return page.split(/^(?=#{2,3} )/m).flatMap((text) => {
    const [, name] = heading.exec(text) ?? [];
    return name === undefined ? [] : [{ name, text }];
  });
}

const alarms = sections(/^### Alarm `([^`]+)`\n/);
const states = sections(/^### State `([^`]+)`\n/);
const errors = sections(/^### `([^`]+)`\n/);
/** Codes on which only the author of a program can act. */
const ofCallers = [...page.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code]) => code);
const names = (/** @type {readonly { name: string }[]} */ all) => all.map(({ name }) => name);

/** The names that replicas raise alarms under, as their sources have them. */
function raisedAlarms() {
  const folder = 'packages/replica/src';
  const found = new Set();
  for (const file of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
    const text = read(join(folder, file));
    if (/name = `denied \$\{/.test(text)) found.add('denied');
    if (!/\balarm\(/i.test(text)) continue;
    for (const [, name] of text.matchAll(/(?:\balarm\(|#set\()\s*'([^']+)'/g)) found.add(name);
    for (const [, name] of text.matchAll(/\bconst (?:\w*ALARM|NAME) = '([^']+)'/g)) found.add(name);
  }
  return [...found].sort();
}

function lifecycleStates() {
  const [, union = ''] =
    /export type LifecycleState =([^;]*);/.exec(read('packages/replica/src/config/lifecycle.ts')) ?? [];
  return [...union.matchAll(/'([^']+)'/g)].map(([, state = '']) => state);
}

/** What `antiphon status` shows of a replica beside its lifecycle. */
function shownConditions() {
  const text = read('packages/cli/src/explain/names-of.ts');
  return [...text.matchAll(/'([a-z-]+)'/g)].map(([, name]) => name);
}

/**
 * What our sources say, whatever way they put it together: literals that are added up are one text,
 * and what a template fills in separates two.
 */
function said() {
  const packages = join(ROOT, 'packages');
  const files = readdirSync(packages).flatMap((name) =>
    readdirSync(join(packages, name, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((file) => /(?<!\.test)\.ts$/.test(file))
      .map((file) => readFileSync(join(packages, name, 'src', file), 'utf8')),
  );
  return files
    .join('\n')
    .replaceAll(/['"`]\s*\+\s*['"`]/g, '')
    .replaceAll('\\`', '`')
    .replaceAll(/\s+/g, ' ');
}

/**
 * The parts of what a section quotes in which nothing differs from case to case.
 * @param {string} text
 */
function quotedIn(text) {
  const [, seen = ''] = /```text\n([^]*?)\n```/.exec(text) ?? [];
  const unwrapped = seen
    .replaceAll(/ {2,}\([a-z, -]+\)$/gm, '…')
    .replaceAll(/\n(?=error: |[a-z]+-\d[: ]|! )/g, '…')
    .replaceAll('\n', ' ');
  return unwrapped
    .split(EXAMPLE)
    .flatMap((part) => part.split(/(?<=[.:;,(]) /))
    .map((part) => part.replaceAll(/^[^\w`]+|[^\w`]+$/g, ''))
    .filter((part) => part.length >= LEAST_QUOTED);
}

const slugOf = (/** @type {string} */ name) => name.toLowerCase().replaceAll(' ', '-');

describe('docs/operations.md', () => {
  it('has a section for each alarm that replicas raise, and for no other', () => {
    expect(raisedAlarms()).toEqual([...ALARMS].sort());
    expect(names(alarms).sort()).toEqual([...ALARMS].sort());
  });

  it('has a section or a line for each error code, and for no other', () => {
    expect([...names(errors), ...ofCallers].sort()).toEqual(Object.keys(ERROR_CODES).sort());
  });

  it('has a section for each state that needs attention, and for none that is gone', () => {
    const lifecycle = lifecycleStates();
    expect(lifecycle.length).toBeGreaterThan(10);
    expect(lifecycle.filter((state) => !WELL.includes(state) && !names(states).includes(state))).toEqual([]);
    const known = [...lifecycle, ...shownConditions()];
    expect(names(states).filter((name) => !known.includes(slugOf(name)))).toEqual([]);
  });

  it('has one section for one name, whatever it is the name of', () => {
    const slugs = [...names(alarms), ...names(states), ...names(errors)].map(slugOf);
    expect(slugs.filter((slug, index) => slugs.indexOf(slug) !== index)).toEqual([]);
  });

  it.each([...alarms, ...states, ...errors])(
    '$name: says what is seen, and the four other things',
    ({ text }) => {
      const lines = text.trim().split('\n');
      expect(lines[2]).toBe('```text');
      expect([...text.matchAll(/^- \*\*(\w+):\*\* /gm)].map(([, label]) => label)).toEqual(LABELS);
      expect(lines.length).toBeLessThanOrEqual(MAX_LINES);
    },
  );

  it('names commands that there are', () => {
    const [, list = ''] = /```\n(antiphon demo[^`]*)```/.exec(read('docs/cli.md')) ?? [];
    const commands = new Set([...list.matchAll(/^antiphon ([a-z-]+)/gm)].map(([, name]) => name));
    const used = [...page.matchAll(/\bantiphon ([a-z-]+)/g)].map(([, name]) => name);
    expect(used.length).toBeGreaterThan(50);
    expect(used.filter((name) => !commands.has(name))).toEqual([]);
  });

  it('quotes what the code says', () => {
    const all = `${said()} ${OF_OTHERS.join(' ')}`.toLowerCase();
    const quoted = [...alarms, ...states, ...errors].flatMap(({ name, text }) =>
      quotedIn(text).map((part) => ({ name, part })),
    );
    expect(quoted.length).toBeGreaterThan(120);
    expect(quoted.filter(({ part }) => !all.includes(part.toLowerCase()))).toEqual([]);
  });
});
