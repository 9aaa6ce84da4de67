/**
 * The oldest Node.js that works on this repository: from 24.16 on, node:sqlite has the authorizer,
 * reads text with a NUL whole and prints no warning. (What is published needs less: see `engines`.)
 */
export const NEEDED_NODE = '24.16';
/** The release line that is obtained where there is none: the newest of it. */
export const OBTAINED_MAJOR = 24;
/** The oldest Node.js that can run these scripts far enough to obtain a newer one (`fetch`). */
export const OLDEST_FOR_SCRIPTS = '18.0';

/** Is a version (`24.21.0`, with or without a `v`) the wanted one or a later one? */
export function isAtLeast(version, wanted) {
  return compareVersions(version, wanted) >= 0;
}

/** Negative when the first version is the older one; what is not given counts as 0. */
export function compareVersions(first, second) {
  const [a, b] = [numbersOf(first), numbersOf(second)];
  for (let index = 0; index < 3; index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbersOf(version) {
  return version.replace(/^v/, '').split('.').map(Number);
}
