-- What Django 5 (https://www.djangoproject.com, BSD-3-Clause) makes for SQLite of an application whose customers have
-- `UniqueConstraint(Lower('email'))`, a unique index on an expression, and whose orders refer to them.

CREATE TABLE "django_migrations" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "app" varchar(255) NOT NULL, "name" varchar(255) NOT NULL, "applied" datetime NOT NULL);
CREATE TABLE "django_session" ("session_key" varchar(40) NOT NULL PRIMARY KEY, "session_data" text NOT NULL, "expire_date" datetime NOT NULL);
CREATE INDEX "django_session_expire_date_a5c62663" ON "django_session" ("expire_date");
CREATE TABLE "auth_group" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" varchar(150) NOT NULL UNIQUE);
CREATE TABLE "auth_user" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL, "last_login" datetime NULL,
  "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE
);
CREATE TABLE "auth_user_groups" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "user_id" integer NOT NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED,
  "group_id" integer NOT NULL REFERENCES "auth_group" ("id") DEFERRABLE INITIALLY DEFERRED
);
CREATE UNIQUE INDEX "auth_user_groups_user_id_group_id_94350c0c_uniq" ON "auth_user_groups" ("user_id", "group_id");
CREATE TABLE "shop_product" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" varchar(100) NOT NULL, "price" decimal NOT NULL,
  "stock" integer unsigned NOT NULL CHECK ("stock" >= 0), "data" text NOT NULL CHECK ((JSON_VALID("data") OR "data" IS NULL))
);
CREATE TABLE "shop_customer" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "email" varchar(254) NOT NULL);
CREATE UNIQUE INDEX "unique_email" ON "shop_customer" ((LOWER("email")));
CREATE TABLE "shop_order" (
  "id" char(32) NOT NULL PRIMARY KEY,
  "customer_id" bigint NOT NULL REFERENCES "shop_customer" ("id") DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE "shop_orderline" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "pieces" integer NOT NULL,
  "order_id" char(32) NOT NULL REFERENCES "shop_order" ("id") DEFERRABLE INITIALLY DEFERRED,
  "product_id" bigint NOT NULL REFERENCES "shop_product" ("id") DEFERRABLE INITIALLY DEFERRED
);
CREATE TRIGGER "shop_product_sold" AFTER UPDATE OF "stock" ON "shop_product" WHEN NEW."stock" = 0
  BEGIN DELETE FROM "shop_orderline" WHERE "product_id" = NEW."id" AND "pieces" = 0; END;

INSERT INTO django_migrations VALUES (1, 'shop', '0001_initial', '2025-11-01 00:00:00');
INSERT INTO shop_customer VALUES (1, 'ada@example.com');
INSERT INTO shop_order VALUES ('o', 1);
