/** Any name as an SQL identifier: quotes, keywords, spaces and Unicode included. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Everything of Antiphon in a user's database starts with this. */
export const METADATA_PREFIX = '_antiphon_';

export function isMetadataName(name: string): boolean {
  return name.toLowerCase().startsWith(METADATA_PREFIX);
}
