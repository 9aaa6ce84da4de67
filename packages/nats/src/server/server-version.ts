import { runCommand } from './command.js';

/** The oldest nats-server that Antiphon is built for (Debian 12 has 2.9.10). */
export const OLDEST_SERVER_VERSION = '2.9.0';

/** The release that is downloaded when nothing else is found. Streams with three replicas need at least 2.10.27. */
export const PINNED_SERVER_VERSION = '2.10.29';

const VERSION_TIMEOUT_MS = 10_000;
const VERSION_PATTERN = /(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-[\w.]+)?/;

/** The version within a text such as `nats-server: v2.9.10`, without the `v`; undefined when there is none. */
export function parseServerVersion(text: string): string | undefined {
  return VERSION_PATTERN.exec(text)?.[0];
}

/** Is `version` the same as or later than `minimum`? A pre-release counts as its release. */
export function isAtLeast(version: string, minimum: string): boolean {
  const [a, b] = [numbersOf(version), numbersOf(minimum)];
  for (const part of [0, 1, 2] as const) {
    if (a[part] !== b[part]) return a[part] > b[part];
  }
  return true;
}

/** Asks a binary for its version; undefined when it can't be run or is no nats-server. */
export async function readServerVersion(binary: string, signal?: AbortSignal): Promise<string | undefined> {
  const options = { timeoutMs: VERSION_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
  const { code, output } = await runCommand(binary, ['--version'], options);
  return code === 0 && output.includes('nats-server') ? parseServerVersion(output) : undefined;
}

function numbersOf(version: string): [number, number, number] {
  const match = VERSION_PATTERN.exec(version);
  return [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0), Number(match?.[3] ?? 0)];
}
