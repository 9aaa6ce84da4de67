import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { HOLE, messagesOf } from './message-texts.mjs';

const PACKAGES = fileURLToPath(new URL('../packages', import.meta.url));
/** Nobody but us reads what they say. */
const PRIVATE = ['simulator', 'test-cluster'];
const NOT_READ_BY_USERS = /\.test\.ts$|\/testing\/|\/e2e\//;
const MAX_LENGTH = 600;

/** Texts that may break a rule, each with the reason. */
const ALLOWED = new Map([]);

/**
 * A name may be in backticks or quotes, a function has its brackets; `nats-server` is never
 * capitalized.
 */
const BEGINS = new RegExp(`^([\\p{Lu}\\d"'\`]|nats-server |[a-z][\\w.]*\\(\\)|${HOLE})`, 'u');
/** A heading may be followed by what a program wrote. */
const ENDS = new RegExp(`([.!?…]|${HOLE}|:\\n[^]*)$`);
/** An order after a semicolon is a sentence of its own. */
const ORDERS =
  'ask|call|change|check|choose|compare|correct|create|do|drop|find|follow|give|grant|install|keep|leave|look|make|' +
  'name|open|put|raise|read|replace|report|restore|run|say|see|send|set|slow|split|start|stop|try|upgrade|use|wait|write';
const GLUED = new RegExp(
  `; (please )?(${ORDERS})\\b|; nothing was |: (give|raise|run|see|start|stop|upgrade) `,
);
/** What a text has in place of a word is only a name. */
const NAME = /^[a-z]\w*$/;
/** Words with a better one (CONTRIBUTING.md). */
const WORDS = [
  [/\bwhen absent\b/, 'Defaults to …'],
  [/\b(goes|go|went) on by (itself|themselves)\b/, 'resumes automatically'],
  [/\bput aside\b/, 'quarantined'],
  [/\bfound(er|s|ed|ing)\b.{0,12}\bcluster\b|\bcluster\b.{0,20}\bfounded\b/, 'created'],
  [/(?<!\w|[Tt]here )is no (?!longer\b|more\b|other\b|such\b)/, 'is not a …'],
  [/\bwhoever\b/i, 'what does it'],
  [/\bout of step\b/, 'out of sync'],
  [/\bmake room\b/i, 'Free disk space'],
];

/** @param {import('./message-texts.mjs').Message} message */
function faultsOf({ text, begins, ends }) {
  const shown = text.trim();
  return [
    ...(!begins || BEGINS.test(shown) || NAME.test(shown)
      ? []
      : ['does not begin with a capital, a name in quotes or a backtick']),
    ...(!ends || ENDS.test(shown) ? [] : ['does not end with a full stop']),
    ...(GLUED.test(shown) ? ['glues the advice with a semicolon or colon: begin a sentence'] : []),
    ...(shown.includes('..') ? ['has two full stops'] : []),
    ...(shown.length > MAX_LENGTH ? [`is longer than ${MAX_LENGTH} characters`] : []),
    ...WORDS.flatMap(([word, better]) =>
      word.test(shown) ? [`${word.exec(shown)[0]}: say "${better}"`] : [],
    ),
  ];
}

function sources() {
  const files = readdirSync(PACKAGES).flatMap((name) =>
    PRIVATE.includes(name)
      ? []
      : readdirSync(join(PACKAGES, name, 'src'), { recursive: true }).map((file) => join(name, 'src', file)),
  );
  return new Map(
    files
      .filter((file) => file.endsWith('.ts') && !NOT_READ_BY_USERS.test(file))
      .map((file) => [file, readFileSync(join(PACKAGES, file), 'utf8')]),
  );
}

describe('what users read', () => {
  const messages = messagesOf(sources());

  it('is found', () => {
    expect(messages.length).toBeGreaterThan(400);
    expect(messages.map(({ file }) => file.split('/')[0])).toEqual(
      expect.arrayContaining([
        'actor',
        'cli',
        'client',
        'core',
        'nats',
        'nats-server',
        'replica',
        'server',
        'sqlite',
      ]),
    );
  });

  it('is sentences: what happened, then what to do', () => {
    const faults = messages.flatMap((message) =>
      ALLOWED.has(message.text)
        ? []
        : faultsOf(message).map(
            (fault) => `packages/${message.file}:${message.line}: ${JSON.stringify(message.text)} ${fault}`,
          ),
    );
    expect(faults).toEqual([]);
  });

  it('needs every exception that it is granted', () => {
    const needed = new Set(messages.filter((one) => faultsOf(one).length > 0).map(({ text }) => text));
    const idle = [...ALLOWED.keys()].filter((text) => !needed.has(text));
    expect(idle).toEqual([]);
  });
});

describe('messagesOf', () => {
  const found = (/** @type {string} */ source) =>
    messagesOf(new Map([['a/src/a.ts', source]])).map(({ text }) => text);

  it('follows constants, templates, conditions and sums', () => {
    const source = `
      const advice = isOld ? 'Upgrade.' : \`Call \${name}.\`;
      throw new AntiphonError('X', 'It failed. ' + advice);`;
    expect(found(source)).toEqual(['It failed. Upgrade.', `It failed. Call ${HOLE}.`]);
  });

  it('follows helpers to their callers, through more than one', () => {
    const source = `
      function bad(message) { return new AntiphonError('X', message); }
      function worse(why) { return bad(\`Bad: \${why}\`); }
      throw worse('it is worse.');`;
    const messages = messagesOf(new Map([['a/src/a.ts', source]]));
    expect(messages.map(({ text, begins, ends }) => ({ text, begins, ends }))).toEqual([
      { text: `Bad: ${HOLE}`, begins: true, ends: true },
      { text: 'it is worse.', begins: false, ends: true },
    ]);
  });

  it('knows alarms and log lines', () => {
    expect(found("this.scope.logger.warn({}, 'it waits'); health.alarm('log', 'silent');")).toEqual([
      'it waits',
      'silent',
    ]);
  });
});
