INSERT INTO `main`.`Category` (`name`) VALUES ('sqlite'), ('nats'), ('gone');
INSERT INTO `main`.`Post` (`title`) VALUES ('first'), ('second');
INSERT OR IGNORE INTO `main`.`_CategoryToPost` (`A`, `B`) VALUES (2, 2), (3, 2), (3, 3), (4, 3);
INSERT OR IGNORE INTO `main`.`_CategoryToPost` (`A`, `B`) VALUES (3, 2);
UPDATE `main`.`Post` SET `published` = true;
DELETE FROM `main`.`_CategoryToPost` WHERE (`A` = 3 AND `B` IN (3));
DELETE FROM `main`.`Category` WHERE `name` = 'gone';
UPDATE `main`.`Post` SET `id` = 30 WHERE `id` = 1;
