CREATE TABLE `customers` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `orders` (
	`id` text PRIMARY KEY NOT NULL,
	`customer` text NOT NULL,
	`item` text NOT NULL,
	`pieces` integer NOT NULL,
	FOREIGN KEY (`customer`) REFERENCES `customers`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`item`) REFERENCES `stock`(`item`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `orders_of_customer` ON `orders` (`customer`);--> statement-breakpoint
CREATE TABLE `stock` (
	`item` text PRIMARY KEY NOT NULL,
	`pieces` integer NOT NULL,
	CONSTRAINT "enough" CHECK("stock"."pieces" >= 0)
);
--> statement-breakpoint
CREATE TABLE `wishes` (
	`customer` text NOT NULL,
	`item` text NOT NULL,
	PRIMARY KEY(`customer`, `item`),
	FOREIGN KEY (`customer`) REFERENCES `customers`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`item`) REFERENCES `stock`(`item`) ON UPDATE no action ON DELETE cascade
);
