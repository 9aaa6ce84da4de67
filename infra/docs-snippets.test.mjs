import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../packages/cli/src/config/load-config.js';
import { createProgram } from '../packages/cli/src/program.js';
import { writtenPages } from './site/pages.mjs';

// The code that README.md and the docs show: it compiles, and what it names is there. What is run,
// and what that prints, is in packages/cli/src/e2e/readme.e2e.test.ts.
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (page) => readFileSync(join(ROOT, page), 'utf8');

/** Of the paragraph before a block: a file that other blocks of the page may import. */
const SAVED_AS = /\bSave this as\s`([\w.-]+)`[^\n]*\n([^\n]+\n)*\n$/;

/** Blocks of code, each with the line on which it begins, and the file that it is saved as. */
const blocks = writtenPages().flatMap((page) => {
  const text = read(page);
  return Array.from(text.matchAll(/^```(\w+)\n([^]*?)^```/gm), ({ 1: language, 2: code, index }) => {
    const before = text.slice(0, index);
    const [, file] = SAVED_AS.exec(before) ?? [];
    return { page, file, place: `${page}:${before.split('\n').length}`, language, code };
  });
});
const blocksIn = (...languages) => blocks.filter(({ language }) => languages.includes(language));

/**
 * What a page has shown before, or what is the reader's own: for a snippet that uses the name and
 * neither declares nor imports it.
 */
const GIVEN = {
  createReplica: "import { createReplica } from '@antiphon/replica';",
  AntiphonError: "import { AntiphonError } from '@antiphon/replica';",
  sqlite: "import { sqlite } from '@antiphon/sqlite';",
  exposeActor: "import { exposeActor, remoteRef } from '@antiphon/actor';",
  replica: `declare const replica: import('@antiphon/replica').Replica<import('@antiphon/sqlite').SqliteTransaction>;`,
  store: `declare const store: ReturnType<typeof import('@antiphon/sqlite').sqlite>;`,
  servers: 'declare const servers: string;',
  sendMail: 'declare function sendMail(...about: unknown[]): Promise<void>;',
  page: 'declare function page(message: string): Promise<void>;',
  handle: `declare function handle(change: import('@antiphon/replica').CommittedChange): Promise<void>;`,
  index:
    'declare const index: { put(id: unknown, row: object): Promise<void>; remove(id: unknown): Promise<void> };',
  bus: `declare const bus: import('@antiphon/core').Bus;`,
  Account: 'interface Account { deposit(amount: number): number; audit(): void }',
  ref: `declare const ref: import('@antiphon/actor').ActorRef<Account>;`,
  amountSchema: 'declare const amountSchema: { parse(input: unknown): number };',
};

/** Names that stand at the top of a module. */
function declaredIn(source) {
  const names = new Set();
  const add = (name) => {
    if (name === undefined) return;
    if (ts.isIdentifier(name)) names.add(name.text);
    else for (const element of name.elements ?? []) add(element.name);
  };
  for (const statement of source.statements) {
    add(statement.name);
    for (const { name } of statement.declarationList?.declarations ?? []) add(name);
    const bindings = statement.importClause?.namedBindings;
    for (const { name } of bindings?.elements ?? []) add(name);
  }
  return names;
}

/** Names that a module uses, those after a dot left out. */
function usedIn(source) {
  const names = new Set();
  const visit = (node) => {
    if (ts.isIdentifier(node) && !(ts.isPropertyAccessExpression(node.parent) && node.parent.name === node))
      names.add(node.text);
    node.forEachChild(visit);
  };
  visit(source);
  return names;
}

function withGiven(code) {
  const source = ts.createSourceFile('snippet.mts', code, ts.ScriptTarget.Latest, true);
  const declared = declaredIn(source);
  const wanted = new Set();
  const want = (names) => {
    for (const name of names) {
      if (!(name in GIVEN) || declared.has(name) || wanted.has(name)) continue;
      wanted.add(name);
      want(usedIn(ts.createSourceFile('given.mts', GIVEN[name], ts.ScriptTarget.Latest, true)));
    }
  };
  want(usedIn(source));
  // On the line of the first statement, so that lines keep their numbers.
  return `${[...wanted].map((name) => GIVEN[name]).join(' ')} export {}; ${code}`;
}

const OPTIONS = {
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  allowImportingTsExtensions: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ESNext,
  lib: ['lib.esnext.d.ts'],
  types: ['node'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  customConditions: ['@antiphon/source'],
};

/** What the compiler says about the snippets, each as a module of its own. */
function compile(snippets) {
  const files = new Map(
    snippets.map(({ page, file, code }, index) => [
      join(ROOT, 'infra', 'snippets', page, file ?? `snippet-${index}.mts`),
      withGiven(code),
    ]),
  );
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile, getSourceFile } = host;
  // Else nothing is looked for in a folder that is not on the disk.
  host.directoryExists = undefined;
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.readFile = (file) => files.get(file) ?? readFile(file);
  host.getSourceFile = (file, ...rest) =>
    files.has(file)
      ? ts.createSourceFile(file, files.get(file), { ...rest[0] }, true)
      : getSourceFile(file, ...rest);
  const program = ts.createProgram([...files.keys()], OPTIONS, host);
  return [...files.keys()].map((file, index) => {
    const source = program.getSourceFile(file);
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return found.map(({ messageText, start }) => {
      const line = source.getLineAndCharacterOfPosition(start).line + 1;
      return `${snippets[index].place}, line ${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
  });
}

describe('code in TypeScript and JavaScript', () => {
  const typed = blocksIn('ts');

  it('is there', () => {
    expect(typed.length).toBeGreaterThan(20);
  });

  it('compiles', { timeout: 120_000 }, () => {
    expect(compile(typed).flat()).toEqual([]);
  });

  it.each(blocksIn('js'))('is JavaScript: $place', ({ code }) => {
    const { diagnostics } = ts.transpileModule(code, { reportDiagnostics: true, fileName: 'snippet.mjs' });
    expect(diagnostics?.map(({ messageText }) => messageText)).toEqual([]);
  });
});

/** Where a snippet of antiphon.yaml leaves out what every file needs. */
const NEEDED = { cluster: 'shop', id: 'eu-1', nats: { servers: 'nats://127.0.0.1:4222' } };
const STORE = { store: { sqlite: { file: 'shop.db' } } };
const OF_ANTIPHON = Object.keys(JSON.parse(read('packages/cli/schema/antiphon.schema.json')).properties);
const ENV = {
  ...{ ANTIPHON_PASSWORD: 'secret', ANTIPHON_TOKEN: 'secret' },
  ...{ SHOP_SHA256: 'a'.repeat(64), PROMETHEUS_SHA256: 'b'.repeat(64) },
};

describe('YAML', () => {
  it.each(blocksIn('yaml'))('is valid, and what antiphon.yaml may say: $place', ({ code }) => {
    const shown = parse(code);
    const keys = Object.keys(shown);
    if (!keys.some((key) => OF_ANTIPHON.includes(key))) return;
    const missing = Object.entries({ ...NEEDED, ...STORE }).filter(([key]) => !keys.includes(key));
    const whole = code + missing.map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join('');
    expect(parseConfig(whole, 'antiphon.yaml', ENV).cluster).toBe('shop');
  });
});

const program = createProgram({ context: () => undefined, finished: () => undefined });
const SCRIPTS = JSON.parse(read('package.json')).scripts;

/** The words of a line of shell: quoted ones as one, comments left out. */
function wordsOf(line) {
  const words = line.match(/(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+/g) ?? [];
  const comment = words.findIndex((word) => word.startsWith('#'));
  return (comment < 0 ? words : words.slice(0, comment)).map((word) => word.replaceAll(/["']/g, ''));
}

/** What is wrong with a call of `antiphon`; undefined: nothing. */
function mistakeIn([first, ...rest], command = program) {
  const sub = command.commands.find((one) => one.name() === first);
  if (sub !== undefined) return mistakeIn(rest, sub);
  if (command === program) return `there is no command \`${first}\``;
  const { unknown } = command.parseOptions([first, ...rest].filter((word) => word !== undefined));
  return unknown.length === 0 ? undefined : `\`${command.name()}\` has no ${unknown[0]}`;
}

describe('commands', () => {
  const shells = blocksIn('sh', 'bash');

  it.each(shells)('a shell can read them: $place', ({ code }) => {
    const { status, stderr } = spawnSync('bash', ['-n'], { input: code, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it.each(shells)('have the names and options that there are: $place', ({ code }) => {
    const lines = code.replaceAll('\\\n', ' ').split('\n').map(wordsOf);
    const mistakes = lines.flatMap((words) => {
      const [name, ...rest] = words[0] === 'npx' ? words.slice(1) : words;
      if (name === 'antiphon') return mistakeIn(rest) ?? [];
      if (name !== 'npm' || !['run', 'start', 'test'].includes(rest[0])) return [];
      const script = rest[0] === 'run' ? rest.find((word, at) => at > 0 && !word.startsWith('-')) : rest[0];
      return script in SCRIPTS ? [] : [`there is no \`npm run ${script}\``];
    });
    expect(mistakes).toEqual([]);
  });
});

describe('JSON', () => {
  it.each(blocksIn('json'))('is valid: $place', ({ code }) => {
    expect(() => JSON.parse(code)).not.toThrow();
  });
});

describe('Python', () => {
  const python = spawnSync('python3', ['--version']).status === 0;
  it.skipIf(!python).each(blocksIn('python', 'py'))('is valid: $place', ({ code }) => {
    const check = 'import ast, sys; ast.parse(sys.stdin.read())';
    const { status, stderr } = spawnSync('python3', ['-c', check], { input: code, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});
