import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { installSystemPackage, type PackageOutcome } from './system-package.js';

/** Stand-ins for apt-get and sudo, first on the PATH: they write down how they were called. */
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-apt-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true, force: true });
});

function script(name: string, body: string): void {
  writeFileSync(join(dir, name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(dir, name), 0o755);
}

function calls(): readonly string[] {
  const file = join(dir, 'calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

async function install(): Promise<{ outcome: PackageOutcome; steps: readonly string[] }> {
  const steps: string[] = [];
  const outcome = await installSystemPackage({ path: dir, onStep: (message) => steps.push(message) });
  return { outcome, steps };
}

const RECORD = `echo "$DEBIAN_FRONTEND $*" >> "$(dirname "$0")/calls"`;

describe('system package', () => {
  it('is installed at once when apt-get knows it, without prompts', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    script('apt-get', RECORD);
    expect((await install()).outcome).toEqual({ kind: 'installed' });
    expect(calls()).toEqual([
      'noninteractive -o DPkg::Lock::Timeout=60 install -y --no-install-recommends nats-server',
    ]);
  });

  it('is installed after an update when the package lists are missing', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    script('apt-get', `${RECORD}\ncase "$*" in *update) touch "$0.lists";; *) test -e "$0.lists";; esac`);
    const { outcome, steps } = await install();
    expect(outcome).toEqual({ kind: 'installed' });
    expect(calls().map((call) => call.split(' ')[3])).toEqual(['install', 'update', 'install']);
    expect(steps.join('\n')).toContain('apt-get update');
  });

  it("fails with apt-get's own last line", async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    script('apt-get', 'echo "E: Unable to locate package nats-server" >&2; exit 100');
    const { outcome } = await install();
    expect(outcome).toMatchObject({
      kind: 'failed',
      reason: expect.stringContaining('Unable to locate package'),
    });
  });

  it('goes through sudo when that asks for nothing', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    script('apt-get', RECORD);
    script('sudo', '[ "$1" = -n ] || exit 1\nshift\nunset DEBIAN_FRONTEND\nexec "$@"');
    expect((await install()).outcome).toEqual({ kind: 'installed' });
    expect(calls()[0]).toMatch(/^noninteractive /);
  });

  it('is not tried when sudo would ask for a password', async () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    script('apt-get', RECORD);
    script('sudo', 'echo "sudo: a password is required" >&2; exit 1');
    expect((await install()).outcome).toMatchObject({
      kind: 'unavailable',
      reason: expect.stringContaining('sudo'),
    });
    expect(calls()).toEqual([]);
  });
});
