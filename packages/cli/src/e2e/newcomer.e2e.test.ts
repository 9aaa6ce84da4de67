import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { antiphon, temporaryFolder } from './antiphon.js';

const BIN = fileURLToPath(new URL('../../dist/bin.js', import.meta.url));
const folder = temporaryFolder();
const cwd = folder.path;
/** Takes connections, and never says a word. */
let mute: Server;
let address: string;
beforeAll(async () => {
  mute = createServer(() => undefined);
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  address = `nats://127.0.0.1:${(mute.address() as AddressInfo).port}`;
});
afterAll(() => {
  mute.close();
  folder.remove();
});

/** Runs it on a terminal of so many columns; what is written there, without colours. */
function onTerminal(columns: number, args: readonly string[]): Promise<string> {
  const command = `stty cols ${columns}; '${process.execPath}' '${BIN}' ${args.join(' ')}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve(text.replaceAll(/\u001b\[\d+m/g, '').replaceAll('\r\n', '\n')));
  });
}

it('the command alone shows its commands', async () => {
  const { code, stdout, stderr } = await antiphon([], { cwd });
  expect(stdout).toMatch(/^Usage: antiphon .*\n[^]*\n +demo [^]*\nStart with:/);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

it('init creates the folders of the configuration and of the database', async () => {
  const { code, stderr } = await antiphon(['init', '-o', 'a/b/eu-1.yaml', '--file', 'data/shop.db'], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(existsSync(join(cwd, 'a', 'b', 'eu-1.yaml'))).toBe(true);
  expect(existsSync(join(cwd, 'a', 'b', 'data'))).toBe(true);
});

it('completion says which shells there are', async () => {
  const { code, stderr } = await antiphon(['completion', 'fisch'], { cwd });
  expect(stderr).toMatch(/no completion for the shell "fisch"\. .*fish/);
  expect(code).toBe(2);
});

describe.runIf(process.platform === 'linux')('on a terminal', () => {
  it('a command that hears nothing says what it waits for', async () => {
    const text = await onTerminal(80, ['status', '--cluster', 'shop', '--servers', address]);
    expect(text).toMatch(/^Waiting for NATS at nats:\/\/127\.0\.0\.1:\d+ to answer …\n[^]*error: /);
  });

  it('a table keeps to its width', async () => {
    const table = `a_table_whose_name_is_longer_than_the_terminal_is_wide`;
    const database = new DatabaseSync(join(cwd, 'wide.db'));
    database.exec(`CREATE TABLE ${table} (id TEXT PRIMARY KEY)`);
    database.close();
    const text = await onTerminal(50, ['check', 'wide.db', '--tables', table]);
    expect(text).toMatch(/^a_table_whose_name_is_l\S+… +0 +given$/m);
    const lines = text.slice(text.indexOf('replicated'), text.indexOf('for antiphon.yaml')).split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(50);
  });
});

it('in a pipe, it waits in silence, as scripts expect', async () => {
  const { stderr } = await antiphon(['status', '--cluster', 'shop', '--servers', address], { cwd });
  expect(stderr).toMatch(/^error: /);
});
