/** The oldest nats-server that Antiphon is built for (Debian 12 has 2.9.10). */
export const OLDEST_SERVER_VERSION = '2.9.0';

const VERSION_PATTERN = /(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-[\w.]+)?/;

/**
 * The version within a text such as `nats-server: v2.9.10`, without the `v`; undefined when there
 * is none.
 */
export function parseServerVersion(text: string): string | undefined {
  return VERSION_PATTERN.exec(text)?.[0];
}

/** Is `version` the same as or later than `minimum`? A pre-release counts as its release. */
export function isVersionAtLeast(version: string, minimum: string): boolean {
  const [a, b] = [numbersOf(version), numbersOf(minimum)];
  for (const part of [0, 1, 2] as const) {
    if (a[part] !== b[part]) return a[part] > b[part];
  }
  return true;
}

function numbersOf(version: string): [number, number, number] {
  const match = VERSION_PATTERN.exec(version);
  return [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0), Number(match?.[3] ?? 0)];
}
