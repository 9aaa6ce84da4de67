insert into "users" ("name", "email", "password") values ('Grace', 'grace@example.com', 'y'), ('Gone', 'gone@example.com', 'z');
update "users" set "remember_token" = 'r', "updated_at" = '2025-11-01 00:00:00' where "id" = 2;
delete from "users" where "name" = 'Gone';
insert into "failed_jobs" ("uuid", "connection", "queue", "payload", "exception") values ('u', 'database', 'default', '{}', 'e');
insert into "cache" ("key", "value", "expiration") values ('a', 's:1:"1";', 1761955200), ('b', 'b', 0) on conflict ("key") do update set "value" = "excluded"."value";
insert into "cache" ("key", "value", "expiration") values ('a', 's:1:"2";', 1761955300) on conflict ("key") do update set "value" = "excluded"."value", "expiration" = "excluded"."expiration";
delete from "cache" where "key" in ('b');
