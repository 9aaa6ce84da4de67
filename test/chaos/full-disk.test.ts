import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { checkNothingLostNothingTwice } from './checks.js';
import { ChaosCluster, pause } from './cluster.js';

let cluster: ChaosCluster | undefined;
let mounted: string | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
  if (mounted !== undefined) execFileSync('umount', ['-l', mounted]);
  mounted = undefined;
});

/** A small file system of its own; needs root. */
function mountSmallDisk(megabytes: number): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'antiphon-disk-'));
  mkdirSync(dir, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', dir], { stdio: 'pipe' });
  } catch {
    rmSync(dir, { recursive: true, force: true });
    return undefined;
  }
  mounted = dir;
  return dir;
}

describe('the disk of a replica is full', () => {
  it('I1 I3: it says so, resumes automatically when there is room, and loses nothing', async (context) => {
    const disk = mountSmallDisk(24);
    if (disk === undefined) return context.skip('cannot mount a tmpfs here (needs root)');
    cluster = await ChaosCluster.start(['a', 'b'], { mode: 'multi-primary' }, { folders: { b: disk } });
    const [a, b] = [cluster.at(0), cluster.at(1)];
    a.load(1, 2);
    b.load(1, 2);
    await pause(300);
    const ballast = join(disk, 'ballast');
    try {
      writeFileSync(ballast, Buffer.alloc(64 * 1024 * 1024));
    } catch {
      // As much as there was room for.
    }
    const deadline = performance.now() + 20_000;
    for (;;) {
      const { status } = await b.status();
      if (
        JSON.stringify(status).includes('STORE_FULL') ||
        b.failures.some(({ code }) => code === 'STORE_FULL')
      )
        break;
      expect(
        performance.now(),
        `b does not say that its disk is full: ${JSON.stringify(status)}`,
      ).toBeLessThan(deadline);
      await pause(50);
    }
    await pause(1_000);
    expect(b.running).toBe(true);
    rmSync(ballast);
    await pause(1_000);
    await Promise.all([a.idle(), b.idle()]);
    await cluster.converged();
    expect(checkNothingLostNothingTwice(cluster)).toBeGreaterThan(50);
    expect(b.failures.filter(({ code }) => code !== 'STORE_FULL')).toEqual([]);
  });
});
