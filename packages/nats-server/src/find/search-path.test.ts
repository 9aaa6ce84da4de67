import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findOnPath } from './search-path.js';

const dir = mkdtempSync(join(tmpdir(), 'antiphon-path-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function program(folder: string, mode: number): string {
  const file = join(dir, folder, 'tool');
  mkdirSync(join(dir, folder), { recursive: true });
  writeFileSync(file, '#!/bin/sh\n');
  chmodSync(file, mode);
  return file;
}

describe('search path', () => {
  it('takes the first executable, passing over plain files and folders', () => {
    program('plain', 0o644);
    mkdirSync(join(dir, 'folder', 'tool'), { recursive: true });
    const first = program('first', 0o755);
    program('second', 0o755);
    const path = ['plain', 'folder', 'missing', 'first', 'second'].map((name) => join(dir, name)).join(':');
    expect(findOnPath('tool', { path, folders: [] })).toBe(first);
  });

  it('looks into the system folders after PATH, and never into the current folder', () => {
    const system = program('system', 0o755);
    expect(findOnPath('tool', { path: '.:', folders: [join(dir, 'system')] })).toBe(system);
    expect(findOnPath('tool', { folders: [] })).toBeUndefined();
  });
});
