import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isInstalled } from './install.mjs';
import { SetupError } from './steps.mjs';

let root;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'antiphon-install-'));
  mkdirSync(join(root, 'node_modules'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const WANTED = {
  '': { name: 'antiphon' },
  'packages/core': { version: '0.1.0' },
  'node_modules/@antiphon/core': { resolved: 'packages/core', link: true },
  'node_modules/nats': { version: '2.29.3' },
  'node_modules/driver-for-another-system': { version: '1.0.0', optional: true },
};

function lock(packages) {
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages }));
}

function installed(packages) {
  writeFileSync(join(root, 'node_modules', '.package-lock.json'), JSON.stringify({ packages }));
}

describe('is everything installed', () => {
  it('when each package is there in its version, links included, whatever is optional', () => {
    lock(WANTED);
    const { 'node_modules/@antiphon/core': link, 'node_modules/nats': nats } = WANTED;
    installed({ 'node_modules/@antiphon/core': link, 'node_modules/nats': nats });
    expect(isInstalled(root)).toBe(true);
    installed({ 'node_modules/@antiphon/core': link, 'node_modules/nats': { version: '2.29.2' } });
    expect(isInstalled(root)).toBe(false);
    installed({ 'node_modules/nats': nats });
    expect(isInstalled(root)).toBe(false);
  });

  it('not after an install that was interrupted', () => {
    lock(WANTED);
    expect(isInstalled(root)).toBe(false);
    writeFileSync(join(root, 'node_modules', '.package-lock.json'), '{"packages":');
    expect(isInstalled(root)).toBe(false);
  });

  it('is an error in a folder that is no clone', () => {
    expect(() => isInstalled(root)).toThrow(SetupError);
  });
});
