-- What the first migrations of a Laravel 8 application (https://github.com/laravel/laravel, MIT) make in SQLite.
-- `password_resets` has neither a primary key nor a unique index.

CREATE TABLE "migrations" ("id" integer not null primary key autoincrement, "migration" varchar not null, "batch" integer not null);
CREATE TABLE "users" (
  "id" integer not null primary key autoincrement, "name" varchar not null, "email" varchar not null,
  "email_verified_at" datetime null, "password" varchar not null, "remember_token" varchar null,
  "created_at" datetime null, "updated_at" datetime null
);
CREATE UNIQUE INDEX "users_email_unique" on "users" ("email");
CREATE TABLE "password_resets" ("email" varchar not null, "token" varchar not null, "created_at" datetime null);
CREATE INDEX "password_resets_email_index" on "password_resets" ("email");
CREATE TABLE "failed_jobs" (
  "id" integer not null primary key autoincrement, "uuid" varchar not null, "connection" text not null,
  "queue" text not null, "payload" text not null, "exception" text not null,
  "failed_at" datetime default CURRENT_TIMESTAMP not null
);
CREATE UNIQUE INDEX "failed_jobs_uuid_unique" on "failed_jobs" ("uuid");
CREATE TABLE "cache" ("key" varchar not null, "value" text not null, "expiration" integer not null);
CREATE UNIQUE INDEX "cache_key_unique" on "cache" ("key");

INSERT INTO migrations VALUES (1, '2014_10_12_000000_create_users_table', 1);
INSERT INTO users (name, email, password) VALUES ('Ada', 'ada@example.com', 'x');
INSERT INTO password_resets VALUES ('ada@example.com', 't', NULL);
