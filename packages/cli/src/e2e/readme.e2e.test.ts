import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { NatsServer } from '@antiphon/nats-server';
import { createReplica } from '@antiphon/replica';
import { sqlite } from '@antiphon/sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder, PATIENCE_MS } from './antiphon.js';
import { eventually } from '@antiphon/testing';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
let folder: ReturnType<typeof temporaryFolder>;
let server: NatsServer | undefined;

beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  folder.remove();
});

function example(number: number, page = 'README.md'): string {
  const readme = readFileSync(join(ROOT, page), 'utf8');
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code ?? '');
  return blocks[number] ?? '';
}

function run(file: string): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn(process.execPath, ['--no-warnings', file], { cwd: folder.path });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text) => void (output += String(text)));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })));
}

it('whatever page shows `await using` says what Node.js 22 needs instead', () => {
  const packages = readdirSync(join(ROOT, 'packages')).map((name) => join('packages', name, 'README.md'));
  const pages = readdirSync(join(ROOT, 'docs')).map((name) => join('docs', name));
  const texts = ['README.md', ...packages, ...pages]
    .filter((page) => page.endsWith('.md'))
    .map((page) => ({ page, text: readFileSync(join(ROOT, page), 'utf8') }));
  const showing = texts.filter(({ text }) => text.includes('\nawait using '));
  expect(showing.length).toBeGreaterThan(3);
  for (const { page, text } of showing) expect(text, page).toMatch(/Node\.js 22[^]*\.(close|stop)\(\)/);
});

it('the example of @antiphon/testing runs as it is written', async () => {
  symlinkSync(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'));
  const file = join(folder.path, 'example.mjs');
  writeFileSync(file, example(0, 'packages/testing/README.md'));
  const { code, output } = await run(file);
  expect(code, output).toBe(0);
  expect(output).toMatch(/^\{ type: .stored., seq: 1/);
});

/** `await using` and types that are stripped. */
const since24 = Number(process.versions.node.split('.')[0]) >= 24 ? describe : describe.skip;

since24('the example of docs/failover.md', () => {
  it('compiles and runs as it is written, and takes over', { timeout: 2 * PATIENCE_MS }, async () => {
    server = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
    symlinkSync(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'));
    writeFileSync(join(folder.path, 'package.json'), '{ "type": "module" }');
    const file = join(folder.path, 'example.ts');
    writeFileSync(file, example(0, 'docs/failover.md').replace('nats://127.0.0.1:4222', server.url));
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'esnext'];
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, ...options, '--types', 'node', file], {
      cwd: folder.path,
      stdio: 'pipe',
    });

    const first = join(folder.path, 'eu-1.db');
    const database = new DatabaseSync(first);
    database.exec('CREATE TABLE orders (id TEXT PRIMARY KEY, sku TEXT)');
    database.close();
    const replica = await createReplica({
      ...{ cluster: 'shop', id: 'eu-1', servers: server.url, store: sqlite({ file: first }) },
      ...{ topology: { mode: 'primary-replica', primary: 'eu-1' }, failover: { mode: 'manual' } },
    });
    try {
      const { code, output } = await run(file);
      expect(code, output).toBe(0);
      expect(output).toContain('eu-1 is the primary (restart)');
      expect(output).toContain('this one takes the writes now');
      expect(await replica.query('SELECT sku FROM orders')).toEqual([{ sku: 'A-7' }]);
      await eventually('eu-1 knows it', () => replica.status().epoch?.primary === 'eu-2', PATIENCE_MS);
    } finally {
      await replica.close();
    }
  });
});

since24('the first example of the README', () => {
  it(
    'runs as it is written, also again, prints what it shows, and loses no update',
    { timeout: 2 * PATIENCE_MS },
    async () => {
      symlinkSync(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'));
      const file = join(folder.path, 'shop.mts');
      writeFileSync(file, example(0));
      const outputs = [await run(file), await run(file), await run(file)];
      expect(outputs.map(({ code, output }) => (code === 0 ? 0 : output))).toEqual([0, 0, 0]);
      const [, shown] =
        /^```text\n(committed [^]*?)^```/m.exec(readFileSync(join(ROOT, 'README.md'), 'utf8')) ?? [];
      const withoutIds = (text = ''): string =>
        text.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID');
      expect(withoutIds(outputs[0]?.output)).toBe(withoutIds(shown));
      for (const name of ['eu-1.db', 'eu-2.db']) {
        const database = new DatabaseSync(join(folder.path, name), { readOnly: true });
        const sales = database
          .prepare('SELECT amount, (SELECT count(*) FROM orders) AS orders FROM stock')
          .get();
        database.close();
        expect({ ...sales }, name).toEqual({ amount: 97, orders: 3 });
      }
    },
  );
});
