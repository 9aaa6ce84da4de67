import type { StreamConfig } from 'nats';

/**
 * What all streams of Antiphon begin with: kept in files until a limit of their own. `discard`:
 * what gives way at a limit. The client has these as enums that exist in its types only.
 */
export function fileStream(discard: 'old' | 'new'): Partial<StreamConfig> {
  const literals = { storage: 'file', retention: 'limits', discard };
  return literals as unknown as Partial<StreamConfig>;
}
