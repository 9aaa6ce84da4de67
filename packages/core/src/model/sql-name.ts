/**
 * One form for all ways to write a name. SQL regards no case in names, and SQLite folds the letters
 * of ASCII alone: `Ä` and `ä` are two names.
 */
export function foldName(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

export function isSameName(one: string, other: string): boolean {
  return one === other || foldName(one) === foldName(other);
}
