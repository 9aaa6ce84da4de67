import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
  readdirSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, normalize } from 'node:path';
import { createInterface } from 'node:readline';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packAll, readBytes, ROOT, run, type Packed } from './packed.js';

/** npm and the compiler, while other tests keep the machine busy. */
const LIMIT_MS = 300_000;
const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
/** Which Node.js uses the packages; ours unless it is named. */
const NODE = process.env['ANTIPHON_PACKAGES_NODE'] ?? process.execPath;
const FIXTURES = join(ROOT, 'test', 'packages', 'consumer');

let folder: string;
/** A folder in which nothing of the repository is found. */
let consumer: string;
let packed: readonly Packed[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-packed-'));
  packed = await packAll(join(folder, 'tarballs'));
  consumer = join(folder, 'consumer');
  mkdirSync(consumer);
  for (const file of readdirSync(FIXTURES)) copyFileSync(join(FIXTURES, file), join(consumer, file));
  writeFileSync(join(consumer, 'package.json'), '{ "name": "consumer", "private": true }\n');
  const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  const tarballs = packed.map(({ tarball }) => tarball);
  const { code, output } = await run(consumer, 'npm', [...install, ...tarballs, ...(await beside())]);
  if (code !== 0) throw new Error(`npm could not install what was packed:\n${output}`);
}, LIMIT_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What an older Node.js needs as well, as the README says. */
async function beside(): Promise<readonly string[]> {
  const { output } = await run(folder, NODE, ['-p', 'process.versions.node']);
  if (Number(output.split('.')[0]) >= 24) return [];
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly devDependencies: Readonly<Record<string, string>>;
  };
  const name = '@photostructure/sqlite';
  return [`${name}@${devDependencies[name]}`];
}

/** Suites for the tests of adapters: vitest is their reader's own. */
const WITH_VITEST = ['@antiphon/testing/conformance', '@antiphon/testing/internal'];

/** Every module of every package, each under a name of its own. */
const modules = (): readonly (readonly [string, string])[] =>
  packed.flatMap((one) => one.modules).map((module, index) => [`m${index}`, module] as const);

describe('the tarballs', () => {
  it('have a README and a license, and neither tests nor source maps of files that they lack', async () => {
    for (const { name, tarball } of packed) {
      const at = join(folder, 'unpacked', name);
      mkdirSync(at, { recursive: true });
      expect(await run(at, 'tar', ['-xzf', tarball, '--strip-components=1'])).toEqual({
        code: 0,
        output: '',
      });
      const files = readdirSync(at, { recursive: true, encoding: 'utf8' });
      expect(files, name).toEqual(expect.arrayContaining(['README.md', 'LICENSE', 'package.json']));
      expect(files.filter((file) => /[.]test[.]|(^|\/)e2e\/|tsbuildinfo|^test\//.test(file))).toEqual([]);
      const maps = files.filter((file) => file.endsWith('.map'));
      const lost = maps.flatMap((map) => {
        const { sources } = JSON.parse(readFileSync(join(at, map), 'utf8')) as { sources: readonly string[] };
        return sources.filter((source) => !files.includes(normalize(join(dirname(map), source))));
      });
      expect(lost, name).toEqual([]);
    }
  });

  it('the one that brings everything has the changelog', async () => {
    const umbrella = packed.find(({ name }) => name === 'antiphon');
    const { output } = await run(folder, 'tar', ['-xzOf', umbrella?.tarball ?? '', 'package/CHANGELOG.md']);
    expect(output).toBe(readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8'));
  });

  it('say nothing that publint finds wrong', async () => {
    for (const { name, tarball } of packed) {
      const { messages, pkg } = await publint({ pack: { tarball: readBytes(tarball) }, strict: true });
      expect(
        messages.map((message) => formatMessage(message, pkg)),
        name,
      ).toEqual([]);
    }
  });

  it('have types that are right, imported or required', async () => {
    for (const { name, tarball } of packed) {
      const data = createPackageFromTarballData(new Uint8Array(readBytes(tarball)));
      const analysis = await checkPackage(data, { excludeEntrypoints: ['./schema'] });
      const problems = analysis.types === false ? ['no types'] : analysis.problems;
      // Every Node.js that is supported can require a module. Resolution as before `exports` knows
      // the main module only.
      const wrong = problems.filter(
        (problem) =>
          typeof problem === 'string' ||
          (problem.kind !== 'CJSResolvesToESM' &&
            !('resolutionKind' in problem && problem.resolutionKind === 'node10')),
      );
      expect(wrong, name).toEqual([]);
    }
  });
});

describe('in a project that has nothing else', () => {
  it.each([
    ['the defaults of nodenext', []],
    ['the oldest library', ['--target', 'es2022', '--lib', 'es2022']],
  ])('every module type-checks, with its declarations: %s', { timeout: LIMIT_MS }, async (_, options) => {
    const imports = modules().map(([name, module]) => `import * as ${name} from '${module}';`);
    const all = `export default [${modules()
      .map(([name]) => name)
      .join(', ')}];`;
    writeFileSync(join(consumer, 'every-module.mts'), [...imports, all, ''].join('\n'));
    const ended = await run(consumer, process.execPath, [TSC, '-p', consumer, ...options]);
    expect(ended).toEqual({ code: 0, output: '' });
  });

  it('every module can be imported and required', async () => {
    const loaded = modules().filter(([, module]) => !WITH_VITEST.includes(module));
    const names = JSON.stringify(loaded.map(([, module]) => module));
    writeFileSync(
      join(consumer, 'load.cjs'),
      `const names = ${names};
const required = names.map((name) => require(name));
Promise.all(names.map((name) => import(name))).then((imported) => {
  for (const [index, name] of names.entries())
    if (imported[index] !== required[index]) throw new Error(name + ' is there twice');
  console.log('ok');
});\n`,
    );
    const ended = await run(consumer, NODE, ['--no-warnings', 'load.cjs']);
    expect(ended).toEqual({ code: 0, output: 'ok\n' });
  });

  it.each([
    ['module.mts', []],
    ['required.cts', ['--experimental-transform-types']],
  ])('a program and its tests run: %s', async (file, options) => {
    expect(await run(consumer, NODE, ['--no-warnings', ...options, file])).toEqual({
      code: 0,
      output: 'ok\n',
    });
  });

  it('the command is there', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const ended = await run(consumer, join(consumer, 'node_modules', '.bin', 'antiphon'), ['--version']);
    expect(ended).toEqual({ code: 0, output: `${version}\n` });
  });
});

/** What a page tells its reader to save, in a folder of its own beside what is installed. */
function saved(page: string): string {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const at = join(consumer, basename(page, '.md'));
  mkdirSync(at, { recursive: true });
  const files = text.matchAll(/\bSave this as\s`([\w.-]+)`[^]*?^```ts\n([^]*?)^```/gm);
  for (const [, file = '', code = ''] of files) writeFileSync(join(at, file), code);
  return at;
}

describe('whoever follows a page literally', () => {
  it.each([
    ['docs/tutorial.md', 'shop.test.mts'],
    ['docs/how-to/test-your-service.md', 'orders.test.mts'],
  ])('%s: its tests pass', { timeout: LIMIT_MS }, async (page, file) => {
    const { code, output } = await run(saved(page), NODE, ['--no-warnings', '--test', file]);
    expect(output).toMatch(/^\W*fail 0$/m);
    expect(code, output).toBe(0);
  });

  it('docs/tutorial.md: by hand, sees what it shows', { timeout: LIMIT_MS }, async () => {
    const at = saved('docs/tutorial.md');
    const text = readFileSync(join(ROOT, 'docs/tutorial.md'), 'utf8');
    const [, calls = '', answers = ''] = /^```sh\n(curl [^]*?)```\n\n```text\n([^]*?)```/m.exec(text) ?? [];
    const withoutIds = (shown: string): string => shown.replaceAll(/[0-9a-f-]{36}/g, 'ID');
    const started: ChildProcess[] = [];
    const start = async (file: string, env: Readonly<Record<string, string>>): Promise<string> => {
      const child = spawn(NODE, ['--no-warnings', file], { cwd: at, env: { ...process.env, ...env } });
      started.push(child);
      for await (const line of createInterface({ input: child.stdout })) {
        const [url] = /(nats|http):\S+/.exec(line) ?? [];
        if (url !== undefined) return url;
      }
      throw new Error(`${file} ended before it listened.`);
    };
    try {
      // A port of this machine may be taken.
      const nats = readFileSync(join(at, 'nats.mts'), 'utf8').replace(' port: 4222,', '');
      writeFileSync(join(at, 'nats.mts'), nats);
      const NATS_URL = await start('nats.mts', {});
      const first = await start('service.mts', { ID: 'eu-1', NATS_URL });
      const second = await start('service.mts', { ID: 'eu-2', NATS_URL });
      const here = calls
        .replaceAll('http://127.0.0.1:8081', first)
        .replaceAll('http://127.0.0.1:8082', second);
      const { output } = await run(at, 'bash', ['-c', here]);
      expect(withoutIds(output)).toBe(withoutIds(answers));
      started[1]?.kill('SIGKILL');
      const response = await fetch(`${second}/orders/A-7`, { method: 'POST' });
      expect(response.status).toBe(201);
    } finally {
      for (const child of started.toReversed()) {
        const ended = new Promise((resolve) => child.once('exit', resolve));
        if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await ended;
      }
    }
  });
});
