import { lastLine, runCommand, type CommandResult } from '../command.js';
import { findOnPath } from './search-path.js';

export type PackageOutcome =
  | { readonly kind: 'installed' }
  /** This machine has no way for it; nothing was tried. */
  | { readonly kind: 'unavailable'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string };

export interface PackageOptions {
  readonly onStep: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** Where `apt-get` and `sudo` are looked for. */
  readonly path?: string | undefined;
  readonly folders?: readonly string[];
}

const APT_TIMEOUT_MS = 180_000;
const SUDO_TIMEOUT_MS = 10_000;
/** Another apt-get (unattended upgrades) may hold the lock; apt waits that long for it. */
const APT_LOCK_SECONDS = 60;

/**
 * Installs the distribution's `nats-server`, without a prompt, when that is possible as root or by
 * a sudo that asks for nothing. Debian's package also starts a service on port 4222 where systemd
 * runs: Antiphon does not use it.
 */
export async function installSystemPackage(options: PackageOptions): Promise<PackageOutcome> {
  const apt = findOnPath('apt-get', options);
  if (apt === undefined) return { kind: 'unavailable', reason: 'this system has no apt-get' };
  const prefix = await privilege(options);
  if (prefix === undefined) {
    const reason =
      'not root, and sudo is missing or asks for a password (`sudo apt-get install nats-server` by hand)';
    return { kind: 'unavailable', reason };
  }
  const run = (args: readonly string[]): Promise<CommandResult> => {
    const [command = apt, ...rest] = [...prefix, apt, ...args];
    const limits = {
      timeoutMs: APT_TIMEOUT_MS,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    };
    return runCommand(command, rest, { ...limits, env: { DEBIAN_FRONTEND: 'noninteractive' } });
  };
  return installWith(run, options.onStep);
}

async function installWith(
  run: (args: readonly string[]) => Promise<CommandResult>,
  onStep: (message: string) => void,
): Promise<PackageOutcome> {
  const lock = `DPkg::Lock::Timeout=${APT_LOCK_SECONDS}`;
  const install = ['-o', lock, 'install', '-y', '--no-install-recommends', 'nats-server'];
  onStep('installing the system package: apt-get install -y nats-server');
  const first = await run(install);
  if (first.code === 0) return { kind: 'installed' };

  // A fresh container has no package lists at all, an old one outdated ones.
  onStep('apt-get does not have it yet; updating its package lists: apt-get update');
  await run(['-o', lock, 'update']);
  const second = await run(install);
  if (second.code === 0) return { kind: 'installed' };
  return { kind: 'failed', reason: `apt-get install failed: ${lastLine(second.output)}` };
}

/**
 * The words to put before a command that needs root: none as root, `sudo -n …` where that works,
 * else undefined.
 */
async function privilege(options: PackageOptions): Promise<readonly string[] | undefined> {
  if (process.getuid?.() === 0) return [];
  const sudo = findOnPath('sudo', options);
  if (sudo === undefined) return undefined;
  const probe = await runCommand(sudo, ['-n', 'true'], { timeoutMs: SUDO_TIMEOUT_MS });
  // sudo drops the environment; `env` puts back what keeps apt from asking.
  return probe.code === 0 ? [sudo, '-n', 'env', 'DEBIAN_FRONTEND=noninteractive'] : undefined;
}
