import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findBinaries } from './matrix-binaries.mjs';

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antiphon-matrix-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program that says which version it is, as the real ones do. */
function program(path, says) {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 });
  return file;
}

it('finds the newest of each line, wherever it is, and says what there is not', async () => {
  program('bin/nats-server', 'nats-server: v2.10.3');
  const newest = program('antiphon-test/sid/usr/sbin/nats-server', 'nats-server: v2.10.27');
  const cached = program('antiphon/nats-server-v2.9.10', 'nats-server: v2.9.10');
  program('antiphon-test/broken/nats-server', 'no version');
  const given = program('given/nats-server', 'nats-server: v2.15.1');
  const env = {
    PATH: join(folder, 'bin'),
    XDG_CACHE_HOME: folder,
    ANTIPHON_MATRIX_BINARIES: `${given}:/nowhere/nats-server`,
  };
  // `2.1` is not the beginning of `2.10`.
  expect(await findBinaries('nats-server', ['2.9', '2.10', '2.15', '2.1'], env)).toEqual([
    { line: '2.9', binary: cached, version: '2.9.10' },
    { line: '2.10', binary: newest, version: '2.10.27' },
    { line: '2.15', binary: given, version: '2.15.1' },
    { line: '2.1' },
  ]);
});

it('takes a node only by its own name', async () => {
  const node = program('antiphon-test/node22/bin/node', 'v22.19.0');
  program('antiphon-test/node22/bin/node-gyp', 'v22.20.0');
  const env = { PATH: '', XDG_CACHE_HOME: folder };
  expect(await findBinaries('node', ['22', '24'], env)).toEqual([
    { line: '22', binary: node, version: '22.19.0' },
    { line: '24' },
  ]);
});
