/**
 * Tables in which tools note the migrations that they have run on this database. Replicated, they
 * would say so of databases on which nobody has run them. By the name that each tool gives; some
 * add a suffix.
 */
const TOOLS: readonly (readonly [RegExp, string])[] = [
  [/^django_migrations$/, 'Django'],
  [/^alembic_version$/, 'Alembic'],
  [/^_prisma_migrations$/, 'Prisma'],
  [/^__drizzle_migrations$/, 'Drizzle'],
  [/^knex_migrations(_lock)?$/, 'Knex'],
  [/^(schema_migrations|ar_internal_metadata)$/, 'Rails, dbmate or golang-migrate'],
  [/^flyway_schema_history$/, 'Flyway'],
  [/^sequelize(meta|data)$/, 'Sequelize'],
  [/^goose_db_version$/, 'goose'],
  [/^gorp_migrations$/, 'sql-migrate'],
  [/^databasechangelog(lock)?$/, 'Liquibase'],
  [/^__efmigrations(history|lock)$/, 'Entity Framework'],
  [/^(phinxlog|doctrine_migration_versions)$/, 'Phinx or Doctrine'],
  [/^kysely_migration(_lock)?$/, 'Kysely'],
  [/^mikro_orm_migrations$/, 'MikroORM'],
  [/^_sqlx_migrations$/, 'sqlx'],
  [/^__diesel_schema_migrations$/, 'Diesel'],
  [/^(seaql_migrations|refinery_schema_history)$/, 'SeaORM or refinery'],
  [/^d1_migrations$/, 'Wrangler'],
  [/^(_yoyo_migration|yoyo_(lock|version)|_yoyo_(log|version))$/, 'yoyo'],
  [/^(aerich|south_migrationhistory|peewee_migrations|migratehistory)$/, 'a migration tool'],
  [/^(ecto_migrations|pgmigrations|umzug_migrations)$/, 'a migration tool'],
];

/** Names that a program may well have a table of its own under: the columns decide. */
const AMBIGUOUS: readonly (readonly [name: string, columns: readonly string[], tool: string])[] = [
  ['migrations', ['id', 'timestamp', 'name'], 'TypeORM'],
  ['migrations', ['id', 'migration', 'batch'], 'Laravel'],
  ['migrations', ['id', 'name', 'migration_time', 'batch'], 'a migration tool'],
  ['migration_history', ['version', 'created_ts'], 'memos'],
  ['schema_changes', ['change_id', 'schema_version', 'changed'], 'Home Assistant'],
  ['migration_changes', ['migration_id', 'version'], 'Home Assistant'],
];

/** Whose migrations it notes; undefined for a table of another kind. */
export function migrationTool(table: string, columns: readonly string[]): string | undefined {
  const name = table.toLowerCase();
  const known = TOOLS.find(([pattern]) => pattern.test(name));
  if (known !== undefined) return known[1];
  const has = columns.map((column) => column.toLowerCase());
  return AMBIGUOUS.find(
    ([called, expected]) =>
      called === name && expected.length === has.length && expected.every((column) => has.includes(column)),
  )?.[2];
}
