insert into "customers" ("id", "name") values ('c-1', 'Ada'), ('c-2', 'Grace'), ('c-3', 'Gone');
update "stock" set "pieces" = "stock"."pieces" - 1 where "stock"."item" = 'lamp' returning "pieces";
insert into "orders" ("id", "customer", "item", "pieces") values ('o-1', 'c-1', 'lamp', 1) returning "id", "customer";
insert into "wishes" ("customer", "item") values ('c-2', 'lamp'), ('c-3', 'lamp') on conflict do nothing;
insert into "wishes" ("customer", "item") values ('c-2', 'lamp') on conflict do nothing;
delete from "customers" where "customers"."id" = 'c-3';
