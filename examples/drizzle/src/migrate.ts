import { join } from 'node:path';
import { migrate as runMigrations } from 'drizzle-orm/better-sqlite3/migrator';
import type { SyncDatabase } from './sync-database.ts';

/** What `npx drizzle-kit generate` has written, as far as it has not run on this file. */
export function migrate(file: SyncDatabase): void {
  runMigrations(file as never, { migrationsFolder: join(import.meta.dirname, '..', 'drizzle') });
}
