import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** `~/.cache/antiphon`, or what XDG_CACHE_HOME says (the XDG rules ignore a relative path). */
export function defaultCacheDir(env: NodeJS.ProcessEnv): string {
  const xdg = env['XDG_CACHE_HOME'];
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache');
  return join(base, 'antiphon');
}

/** Where a downloaded release lies, below the cache folder. */
export function cachedBinary(cacheDir: string, version: string): string {
  return join(cacheDir, `nats-server-${version}`, 'nats-server');
}
