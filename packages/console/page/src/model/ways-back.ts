/**
 * Where to read on for each alarm. Its message says what has happened and what to do; these are the
 * pages that explain the rest. An alarm that is not here has a message that says all.
 */
const PAGES: Readonly<Record<string, string>> = {
  apply: 'docs/cli.md, quarantine',
  clock: 'docs/failover.md, Wrong clocks',
  commit: 'docs/failover.md, A primary that cannot commit',
  conflicts: 'docs/several-writers.md',
  duplicate: 'docs/lost-log.md, Two files under one id',
  election: 'docs/failover.md, How to look',
  'in-sync': 'docs/concepts.md, In-sync set',
  kept: 'docs/cli.md, recapture',
  lease: 'docs/failover.md, How to look',
  'lease-thread': 'docs/failover.md, Long writes',
  lock: 'docs/failover.md, A primary that cannot commit',
  log: 'docs/lost-log.md',
  'long-write': 'docs/failover.md, Long writes',
  membership: 'docs/lost-log.md, Registry keys that were deleted',
  'not replicated': 'docs/cli.md, check',
  own: 'docs/cli.md, quarantine',
  primary: 'docs/failover.md, Settings',
  publish: 'docs/cli.md, status',
  publishing: 'docs/publishing.md',
  records: 'docs/lost-log.md, Registry keys that were deleted',
  registry: 'docs/lost-log.md, Registry keys that were deleted',
  removed: 'docs/lost-log.md',
  rescue: 'docs/failover.md, Getting it back',
  seal: 'docs/failover.md, A primary that cannot commit',
  store: 'docs/failover.md, A primary that cannot commit',
  trimmed: 'docs/lost-log.md',
};

export function pageFor(alarm: string): string | undefined {
  return alarm.startsWith('denied ') ? 'docs/access.md' : PAGES[alarm];
}
